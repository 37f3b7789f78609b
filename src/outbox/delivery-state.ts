import type { DeliveryState } from "../../gen/taskgate/v1/receipt_pb.ts";

/**
 * The contract's states by name. The store's thread knows them from here: it loads
 * nothing of Protobuf, so that it is there at once.
 */
export const deliveryStates = {
  STORED: 1,
  DELIVERED: 2,
  UNCONFIRMED: 3,
  REJECTED: 4,
  SUPERSEDED: 5,
  DISCARDED: 6,
} as const satisfies Record<string, DeliveryState>;

/** The name of a state; empty: there is no such state. */
export function stateName(state: DeliveryState): string {
  return Object.entries(deliveryStates).find(([, value]) => value === state)?.[0] ?? "";
}
