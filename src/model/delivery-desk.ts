import type { Delivery } from "../../gen/taskgate/v1/gateway_pb.ts";
import type { DeliveryState } from "../../gen/taskgate/v1/receipt_pb.ts";

/** Which deliveries are meant; what is absent does not narrow. */
export interface DeliveryFilter {
  upstream?: string | undefined;
  states?: readonly DeliveryState[] | undefined;
  taskId?: string | undefined;
}

/** What came of moving a delivery by hand. */
export type DeliveryMove =
  | { readonly kind: "moved"; readonly delivery: Delivery }
  | { readonly kind: "unknown" }
  | { readonly kind: "refused"; readonly why: string };

/**
 * What watchers are told: a change, that changes were left out, or nothing: at first, and when there was nothing for
 * so long that they should know.
 */
export type DeliveryChange =
  | { readonly kind: "changed"; readonly delivery: Delivery }
  | { readonly kind: "gap" }
  | { readonly kind: "idle" };

/** What an operator sees and does of the deliveries that are stored. */
export interface DeliveryDesk {
  /** Finds a delivery, and waits up to `waitMs` for its end. */
  get(id: string, waitMs: number, signal: AbortSignal): Promise<Delivery | undefined>;
  /**
   * Lists deliveries, oldest first, from behind the page that `token` names (empty:
   * from the first). Undefined: no page has that token.
   */
  list(
    filter: DeliveryFilter,
    token: string,
    limit: number,
  ): Promise<{ deliveries: Delivery[]; nextToken: string } | undefined>;
  /** Tells of changes until one of the signals aborts. */
  watch(filter: DeliveryFilter, signals: readonly AbortSignal[]): AsyncIterable<DeliveryChange>;
  /** Sends a delivery again, now. */
  retry(id: string): Promise<DeliveryMove>;
  /** Drops a delivery. */
  discard(id: string): Promise<DeliveryMove>;
}
