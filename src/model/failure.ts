import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { ErrorReason, ErrorReasonSchema } from "../../gen/taskgate/v1/error_reason_pb.ts";
import { type Failure, FailureSchema } from "../../gen/taskgate/v1/receipt_pb.ts";

// The contract's table of codes. A reason that stands for more than one code has
// its usual one here; the other is given where it applies.
const codes: Partial<Record<ErrorReason, Code>> = {
  [ErrorReason.INVALID_REQUEST]: Code.InvalidArgument,
  [ErrorReason.UPSTREAM_NOT_CONFIGURED]: Code.FailedPrecondition,
  [ErrorReason.TASK_UNKNOWN]: Code.NotFound,
  [ErrorReason.SESSION_UNKNOWN]: Code.NotFound,
  [ErrorReason.DELIVERY_UNKNOWN]: Code.NotFound,
  [ErrorReason.CONFLICTING_OUTCOME]: Code.AlreadyExists,
  [ErrorReason.REQUEST_ID_REUSED]: Code.AlreadyExists,
  [ErrorReason.TASK_FINISHED]: Code.FailedPrecondition,
  [ErrorReason.TASK_CANCELLED]: Code.FailedPrecondition,
  [ErrorReason.LEASE_SUPERSEDED]: Code.FailedPrecondition,
  [ErrorReason.LEASE_EXPIRED]: Code.FailedPrecondition,
  [ErrorReason.UPSTREAM_REJECTED]: Code.FailedPrecondition,
  [ErrorReason.UPSTREAM_AUTH]: Code.FailedPrecondition,
  [ErrorReason.UPSTREAM_UNAVAILABLE]: Code.Unavailable,
  [ErrorReason.UPSTREAM_UNCERTAIN]: Code.Unknown,
  [ErrorReason.UPSTREAM_TIMEOUT]: Code.DeadlineExceeded,
  [ErrorReason.CALLBACK_NOT_ALLOWED]: Code.PermissionDenied,
  [ErrorReason.NOT_PERMITTED]: Code.PermissionDenied,
  [ErrorReason.OUTBOX_FULL]: Code.ResourceExhausted,
  [ErrorReason.TOO_MANY_SESSIONS]: Code.ResourceExhausted,
  [ErrorReason.PAYLOAD_TOO_LARGE]: Code.ResourceExhausted,
  [ErrorReason.DRAINING]: Code.Unavailable,
  [ErrorReason.TOKEN_MISSING]: Code.Unauthenticated,
  [ErrorReason.TOKEN_INVALID]: Code.Unauthenticated,
  [ErrorReason.NOT_IMPLEMENTED]: Code.Unimplemented,
  [ErrorReason.INTERNAL]: Code.Internal,
};

export interface FailureOptions {
  /** For a program: upstream, HTTP status, attempt. Never a URL, a token or a key. Default: none. */
  metadata?: Record<string, string>;
  /** How long to wait before a repetition can help. Default: waiting does not help. */
  retryAfterMs?: number;
  /** Default: the reason's code in the contract's table. */
  code?: Code;
}

/**
 * Creates an error as data: what a receipt shows, what a stream answers in band,
 * and what becomes a `ConnectError` at the edge.
 */
export function createFailure(reason: ErrorReason, message: string, options: FailureOptions = {}): Failure {
  const failure = create(FailureSchema, {
    code: options.code ?? codeOf(reason),
    reason,
    message,
    metadata: options.metadata ?? {},
  });
  if (options.retryAfterMs !== undefined) {
    failure.retryDelay = durationFromMs(options.retryAfterMs);
  }
  return failure;
}

/** The same failure for another reason, with that reason's code. */
export function failureWithReason(failure: Failure, reason: ErrorReason): Failure {
  return { ...failure, reason, code: codeOf(reason) };
}

/** The reason's name as it is on the wire: the enum's without its prefix. */
export function reasonName(reason: ErrorReason): string {
  return ErrorReasonSchema.value[reason]?.localName ?? "UNSPECIFIED";
}

function codeOf(reason: ErrorReason): Code {
  return codes[reason] ?? Code.Unknown;
}

/** The failure for new work at a gateway that is going away. */
export function drainingFailure(): Failure {
  return createFailure(ErrorReason.DRAINING, "the gateway is going away and takes no new work", {
    retryAfterMs: 1000,
  });
}
