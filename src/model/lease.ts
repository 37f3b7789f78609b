import type { NewDelivery } from "./delivery.ts";

/** The task that a lease is for, as the outbox files it. */
export type LeasedTask = Pick<NewDelivery, "upstream" | "lane" | "key" | "taskId" | "attempt">;

/** What is done when a lease runs out: the upstream is told that the task failed, or nobody is told. */
export type OnLost = "fail" | "ignore";

/** What whoever begins a lease chooses. */
export interface LeaseTerms {
  readonly caller: string;
  readonly onLost: OnLost;
  /**
   * What the upstream is told of a lost worker, in a form that only the upstream's
   * part understands. May hold a secret. Empty where it needs nothing.
   */
  readonly lostPayload: string;
}

/** A lease as it is stored. */
export interface LeaseRecord extends LeaseTerms {
  readonly task: LeasedTask;
  readonly sessionId: string;
  /** When it began. Wall clock. */
  readonly createMs: number;
}

/** How a task stands. */
export interface TaskStanding {
  readonly caller: string;
  /** Who said the outcome that is stored. */
  readonly outcomeBy: "nobody" | "worker" | "gateway";
  /** The last session that held the task; empty: none did. */
  readonly sessionId: string;
}
