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
  /** The body of the request, exactly as it will be sent. */
  readonly body: string;
  /** The status that is reported, in the upstream's words. Undefined: none. */
  readonly status?: string;
}

/** An upstream that deliveries can be sent to. */
export interface DeliveryUpstream {
  send(delivery: Pick<NewDelivery, "target" | "body">, signal?: AbortSignal): Promise<AttemptResult>;
}
