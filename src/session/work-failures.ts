import { Code } from "@connectrpc/connect";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import type { Failure } from "../../gen/taskgate/v1/receipt_pb.ts";
import type { Attempt, CallResult } from "../model/call-result.ts";
import { createFailure } from "../model/failure.ts";

/** A failure that is about an attempt. */
export function failureOf(reason: ErrorReason, message: string, { id, execId }: Attempt): Failure {
  return createFailure(reason, message, { metadata: { upstream: "aidbox", task_id: id, exec_id: execId } });
}

/** A call that failed so. */
export function failed<Value>(reason: ErrorReason, message: string, attempt: Attempt): CallResult<Value> {
  return { kind: "failed", failure: failureOf(reason, message, attempt) };
}

/** The failure for what needs a task that has begun. */
export function notBegun({ id }: Attempt): Failure {
  return createFailure(ErrorReason.INVALID_REQUEST, `the task ${id} has not begun: start it first`, {
    code: Code.FailedPrecondition,
    metadata: { upstream: "aidbox" },
  });
}

/** The failure for a session that was invented. */
export function unknownSession(): Failure {
  return createFailure(ErrorReason.SESSION_UNKNOWN, "this gateway never gave the session to this caller", {
    metadata: { upstream: "aidbox" },
  });
}

/** The failure for giving up a task that has begun. */
export function alreadyBegun({ id }: Attempt): Failure {
  return createFailure(ErrorReason.INVALID_REQUEST, `the task ${id} has begun: it ends with an outcome`, {
    code: Code.FailedPrecondition,
    metadata: { upstream: "aidbox" },
  });
}
