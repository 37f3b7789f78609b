import type { Failure } from "../../gen/taskgate/v1/receipt_pb.ts";

/** What came of a call that is answered straight: a value or a failure. */
export type CallResult<Value> =
  | { readonly kind: "ok"; readonly value: Value }
  | { readonly kind: "failed"; readonly failure: Failure };

/** One attempt of an Aidbox task. */
export interface Attempt {
  id: string;
  execId: string;
}

/** When Aidbox takes an attempt back unless it hears of it. Wall clock. */
export interface AttemptLease {
  leaseExpireMs: number | undefined;
}

/** How an attempt ended. */
export interface TaskOutcome extends Attempt {
  verb: "success" | "fail";
  /** The result or the error as JSON text; undefined: none. */
  json: string | undefined;
}
