import type { AttemptResult } from "../model/attempt-result.ts";
import type { CallCode, CallHeaders } from "../model/call-observer.ts";
import type { ObservedDelivery } from "../model/delivery-observer.ts";
import type { TraceContext } from "../model/trace-context.ts";

/** Makes spans, and knows to which of them belongs what runs. */
export interface Tracer {
  /** A span for a call, in the caller's trace if it names one. Undefined: calls of that method have none. */
  call(path: string, headers: CallHeaders): TracedSpan<CallCode> | undefined;
  /** A span for an attempt, in the trace of the call that made the delivery. */
  attempt(delivery: ObservedDelivery): TracedSpan<AttemptResult>;
  /** Where what runs now belongs. Undefined: to no trace. */
  current(): TraceContext | undefined;
  /** Sends what was not sent yet, for so long at most. */
  close(timeoutMs: number): Promise<void>;
}

/** One span. */
export interface TracedSpan<Outcome> {
  readonly trace: TraceContext;
  /** Does work that belongs to the span. */
  run<Result>(work: () => Result): Result;
  end(outcome: Outcome): void;
}
