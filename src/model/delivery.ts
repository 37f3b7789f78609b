import type { AttemptResult } from "./attempt-result.ts";

/**
 * What a report is for the rules of order.
 *
 * - `status`: a status that ends nothing. May be left out when an outcome has
 *   overtaken it.
 * - `output`: must arrive, and before the outcome.
 * - `log`: must arrive, also behind the outcome.
 * - `outcome`: ends the task.
 */
export type DeliveryKind = "status" | "output" | "log" | "outcome";

/** A report, ready to leave: what its upstream made of it, and where it belongs. */
export interface NewDelivery {
  /** `orchestra`, `orchestrator` or `aidbox`. */
  readonly upstream: string;
  /**
   * The origin that it goes to, by a name that is no secret. What is in trouble is
   * in trouble per lane: one that hangs slows no other.
   */
  readonly lane: string;
  /**
   * The task, within its upstream. Deliveries of one task leave in the order in
   * which they were accepted, one at a time.
   */
  readonly key: string;
  /** The task as people and the upstream name it. Never a secret. */
  readonly taskId: string;
  /** Which attempt of it. Never a secret. */
  readonly attempt: string;
  readonly kind: DeliveryKind;
  /** Of an outcome: equal tags are the same outcome. Else empty. */
  readonly outcomeTag: string;
  /** Where to, as the upstream itself understands it. May be a secret. */
  readonly target: string;
  /** What is sent. */
  readonly body: string;
}

/** A delivery on its way to the upstream. */
export interface SentDelivery {
  readonly taskId: string;
  readonly attempt: string;
  readonly target: string;
  readonly body: string;
  /** An attempt before this one may have been taken. */
  readonly isInDoubt: boolean;
}

/** An upstream that deliveries can be sent to. */
export interface DeliveryUpstream {
  send(delivery: SentDelivery, signal?: AbortSignal): Promise<AttemptResult>;
}
