import type { Failure } from "../../gen/taskgate/v1/receipt_pb.ts";

/**
 * What came of one request to an upstream. A value, never an exception: an
 * upstream that fails is expected.
 *
 * - `accepted`: the upstream took it. `answer` is what it said, as JSON text,
 *   where the upstream says anything.
 * - `rejected`: the upstream answered that it never will.
 * - `unconfirmed`: nothing that the upstream says settles whether it took an
 *   earlier attempt, and another one is pointless.
 * - `unauthorized`: the upstream refuses the gateway's credentials.
 * - `tooEarly`: the upstream cannot take it yet, and surely did not.
 * - `unavailable`: surely not taken; the upstream or the way to it is in trouble.
 * - `inDoubt`: sent, and not known whether it was taken.
 */
export type AttemptResult = { readonly kind: "accepted"; readonly answer: string } | AttemptFailure;

/** An attempt that was not accepted. */
export interface AttemptFailure {
  readonly kind: "rejected" | "unconfirmed" | "unauthorized" | "tooEarly" | "unavailable" | "inDoubt";
  readonly failure: Failure;
  /** The upstream refused this outcome and still waits for another one. Default: it does not. */
  readonly isTaskOpen?: boolean;
}
