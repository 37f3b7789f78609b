import { create, fromBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import {
  DeliveryState,
  type Failure,
  FailureSchema,
  type Receipt,
  ReceiptSchema,
} from "../../gen/taskgate/v1/receipt_pb.ts";
import { createFailure } from "../model/failure.ts";
import type { DeliveryRow } from "./store.ts";

/** Why the last attempt of a delivery failed, or why it is not sent. */
export function failureOf({ failure, state }: DeliveryRow): Failure | undefined {
  if (failure === null) {
    return state === DeliveryState.REJECTED ? damage : undefined;
  }
  return fromBinary(FailureSchema, failure);
}

const damage = createFailure(
  ErrorReason.INTERNAL,
  "what is stored is not what was accepted: its checksum does not match, and it is not sent",
);

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
  const failure = failureOf(row);
  if (failure !== undefined) {
    receipt.failure = failure;
  }
  if (row.nextAttemptMs !== null) {
    receipt.nextAttemptTime = timestampFromMs(row.nextAttemptMs);
  }
  return receipt;
}
