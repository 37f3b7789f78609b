import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { expect } from "vitest";
import { type Delivery, GatewayService } from "../../gen/taskgate/v1/gateway_pb.ts";
import { DeliveryState, DeliveryStateSchema, type Receipt } from "../../gen/taskgate/v1/receipt_pb.ts";
import { reasonName } from "../../src/model/failure.ts";
import type { Caller } from "./clients.ts";

/** Asks an operator's connection what became of a delivery, and waits so long for its end. */
export async function findDelivery(
  operator: Caller,
  receipt: Pick<Receipt, "deliveryId"> | undefined,
  waitMs = 0,
): Promise<Delivery> {
  const deliveryId = receipt?.deliveryId ?? "";
  const wait = durationFromMs(waitMs);
  const { delivery } = await operator.call(GatewayService.method.getDelivery, { deliveryId, wait });
  if (delivery === undefined) {
    throw new Error(`GetDelivery answered without ${deliveryId}`);
  }
  return delivery;
}

/** Waits until an attempt to send a delivery has failed, and returns its receipt as of then. */
export async function troubled(
  operator: Caller,
  receipt: Pick<Receipt, "deliveryId"> | undefined,
): Promise<Receipt | undefined> {
  let last: Receipt | undefined;
  async function failure() {
    last = (await findDelivery(operator, receipt)).receipt;
    return last?.failure;
  }
  await expect.poll(failure, { timeout: 10_000, interval: 5 }).toBeDefined();
  return last;
}

/** Waits until a delivery has ended by itself, and returns its last receipt. */
export async function settled(
  operator: Caller,
  receipt: Pick<Receipt, "deliveryId"> | undefined,
): Promise<Receipt | undefined> {
  const last = () => findDelivery(operator, receipt);
  await expect
    .poll(async () => (await last()).receipt?.state, { timeout: 15_000, interval: 20 })
    .not.toBe(DeliveryState.STORED);
  return (await last()).receipt;
}

/** Sends a delivery again now, waits until it has ended, and returns its last receipt. */
export async function settledByRetry(
  operator: Caller,
  receipt: Pick<Receipt, "deliveryId"> | undefined,
): Promise<Receipt | undefined> {
  const deliveryId = receipt?.deliveryId ?? "";
  await operator.call(GatewayService.method.retryDelivery, { deliveryId });
  return settled(operator, receipt);
}

/** A receipt in one line: its state, that it is in doubt, and code, reason and message of its failure. */
export function receiptLine(receipt: Receipt | undefined): string {
  const { state = DeliveryState.UNSPECIFIED, inDoubt = false, failure } = receipt ?? {};
  return [
    DeliveryStateSchema.value[state]?.localName,
    ...(inDoubt ? ["in doubt"] : []),
    ...(failure === undefined ? [] : [Code[failure.code], reasonName(failure.reason), failure.message]),
  ].join(" ");
}
