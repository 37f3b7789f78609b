import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";

/** The reasons that say that a task is no longer the worker's. */
export const taskEndings: ReadonlySet<ErrorReason> = new Set([
  ErrorReason.TASK_FINISHED,
  ErrorReason.TASK_CANCELLED,
  ErrorReason.TASK_UNKNOWN,
  ErrorReason.LEASE_EXPIRED,
  ErrorReason.LEASE_SUPERSEDED,
]);
