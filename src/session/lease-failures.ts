import { Code } from "@connectrpc/connect";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import type { Failure } from "../../gen/taskgate/v1/receipt_pb.ts";
import { createFailure } from "../model/failure.ts";
import type { LeasedTask, LeaseTerms, TaskStanding } from "../model/lease.ts";

/** Why a task that has an outcome has no lease any more. */
export function causeOf({ outcomeBy }: TaskStanding): ErrorReason {
  return outcomeBy === "gateway" ? ErrorReason.LEASE_EXPIRED : ErrorReason.TASK_FINISHED;
}

/** The failure for a task that cannot be opened as it stands. */
export function refusedBy(task: LeasedTask, { caller }: LeaseTerms, standing: TaskStanding): Failure {
  return standing.caller === caller
    ? createFailure(causeOf(standing), `the task ${taskName(task)} has an outcome`, metadataOf(task))
    : unknownTask(task);
}

function taskName({ taskId, attempt }: LeasedTask): string {
  return attempt === "" ? taskId : `${taskId}, attempt ${attempt}`;
}

function metadataOf({ upstream }: LeasedTask) {
  return { metadata: { upstream } };
}

/** The failure for a task that is not there, or not this caller's. */
export function unknownTask(task: LeasedTask): Failure {
  return createFailure(ErrorReason.TASK_UNKNOWN, `there is no task ${taskName(task)}`, metadataOf(task));
}

/** The failure for a session that was invented. */
export function unknownSession(task: LeasedTask): Failure {
  return createFailure(
    ErrorReason.SESSION_UNKNOWN,
    `the session was never one of the task ${taskName(task)}`,
    metadataOf(task),
  );
}

/** The failure for a session that no longer holds its task. */
export function superseded(task: LeasedTask): Failure {
  return createFailure(
    ErrorReason.LEASE_SUPERSEDED,
    `another session holds the task ${taskName(task)}`,
    metadataOf(task),
  );
}

/** The failure for one lease too many. */
export function tooManySessions(limit: number): Failure {
  return createFailure(ErrorReason.TOO_MANY_SESSIONS, `the gateway holds ${limit} sessions, its limit`, {
    metadata: { limit: String(limit) },
    retryAfterMs: 5000,
  });
}

/** The failure for a lease that leaves more for the case of its loss than there is memory for. */
export function tooManyLostPayloads(): Failure {
  return createFailure(
    ErrorReason.TOO_MANY_SESSIONS,
    "what the sessions have left for the case of their loss is as much as the gateway keeps",
    { metadata: { field: "lost_payload" }, retryAfterMs: 5000 },
  );
}

/** The failure for a lease that is not on the disk. */
export function notStored(task: LeasedTask): Failure {
  return createFailure(ErrorReason.INTERNAL, "the lease could not be stored", {
    code: Code.Unavailable,
    ...metadataOf(task),
    retryAfterMs: 1000,
  });
}

/** The failure for a lease that finds no room. */
export function noRoom(task: LeasedTask): Failure {
  return createFailure(ErrorReason.OUTBOX_FULL, "the lease finds no room: the disk is full", {
    ...metadataOf(task),
    retryAfterMs: 5000,
  });
}
