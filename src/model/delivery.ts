import type { AttemptResult } from "./attempt-result.ts";

/** A report, ready to leave: what its upstream made of it, and where it belongs. */
export interface NewDelivery {
  /** `orchestra`, `orchestrator` or `aidbox`. */
  readonly upstream: string;
  /**
   * The task, within its upstream. Deliveries of one task leave in the order in
   * which they were accepted, one at a time.
   */
  readonly key: string;
  /** Where to, as the upstream itself understands it. May be a secret. */
  readonly target: string;
  /** What is sent, but for the status. */
  readonly body: string;
  /** The status that is reported, in the upstream's words; undefined: none, or the last one. */
  readonly status?: string | undefined;
  /**
   * The report goes with the last status that was accepted for its task, or with
   * this one where there is none.
   */
  readonly statusDefault?: string | undefined;
}

/** A delivery on its way to the upstream: its status is settled. */
export interface SentDelivery {
  readonly target: string;
  readonly body: string;
  readonly status?: string | undefined;
}

/** An upstream that deliveries can be sent to. */
export interface DeliveryUpstream {
  send(delivery: SentDelivery, signal?: AbortSignal): Promise<AttemptResult>;
}
