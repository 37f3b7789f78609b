import { create, fromBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { FailureSchema, type Receipt, ReceiptSchema } from "../../gen/taskgate/v1/receipt_pb.ts";
import type { DeliveryRow } from "./store.ts";

/** What is told of a delivery. */
export function receiptOf(row: DeliveryRow): Receipt {
  const receipt = create(ReceiptSchema, {
    deliveryId: row.id,
    state: row.state,
    inDoubt: row.isInDoubt,
    attempts: row.attempts,
    createTime: timestampFromMs(row.createMs),
  });
  if (row.deliverMs !== null) {
    receipt.deliverTime = timestampFromMs(row.deliverMs);
  }
  if (row.failure !== null) {
    receipt.failure = fromBinary(FailureSchema, row.failure);
  }
  if (row.nextAttemptMs !== null) {
    receipt.nextAttemptTime = timestampFromMs(row.nextAttemptMs);
  }
  return receipt;
}
