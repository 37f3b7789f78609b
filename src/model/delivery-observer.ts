import type { DeliveryState } from "../../gen/taskgate/v1/receipt_pb.ts";
import type { AttemptResult } from "./attempt-result.ts";
import type { DeliveryKind } from "./delivery.ts";
import type { TraceContext } from "./trace-context.ts";

/** A delivery, as it is observed. Nothing in it is a secret. */
export interface ObservedDelivery {
  readonly id: string;
  readonly upstream: string;
  readonly taskId: string;
  readonly attempt: string;
  readonly kind: DeliveryKind;
  readonly state: DeliveryState;
  /** How many attempts have begun. */
  readonly attempts: number;
  /** Wall clock, as the other times. */
  readonly createMs: number;
  readonly deliverMs: number | null;
  /** A `Failure` in binary form: the last one; null: none. */
  readonly failure: Uint8Array | null;
  /** The trace of the call that made it; null: none. */
  readonly trace: TraceContext | null;
}

/**
 * Hears of every delivery. It is on the way of each of them: what it does must be
 * cheap, and must not throw.
 */
export interface DeliveryObserver {
  /** A report was stored. A repetition is not. */
  stored(delivery: ObservedDelivery): void;
  /** An attempt begins. */
  attempt(delivery: ObservedDelivery): ObservedAttempt;
  /** A delivery has come to its end, as its state says. One that an operator retries ends again. */
  ended(delivery: ObservedDelivery): void;
}

/** One attempt, as it is observed. */
export interface ObservedAttempt {
  /** Makes the attempt: what that does belongs to it. */
  run<Result>(send: () => Result): Result;
  end(result: AttemptResult): void;
}
