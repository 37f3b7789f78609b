import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import type { Failure } from "../../gen/taskgate/v1/receipt_pb.ts";
import { createFailure, reasonName } from "../model/failure.ts";

/** What is wrong with one field of a request. */
export type FieldViolation = { field: string; description: string };

/** The header or trailer that repeats the reason for clients without Google's types. */
export const reasonHeader = "taskgate-reason";

/**
 * Turns a failure into the error that a caller sees: Google's error model with
 * `ErrorInfo`, `BadRequest` for each bad field, and `RetryInfo` where waiting
 * helps.
 */
export function errorFromFailure(failure: Failure, violations: readonly FieldViolation[] = []): ConnectError {
  const reason = reasonName(failure.reason);
  const details: ConnectError["details"] = [
    {
      desc: ErrorInfoSchema,
      value: create(ErrorInfoSchema, { reason, domain: "taskgate", metadata: failure.metadata }),
    },
  ];
  if (violations.length > 0) {
    const init: MessageInitShape<typeof BadRequestSchema> = { fieldViolations: [...violations] };
    details.push({ desc: BadRequestSchema, value: create(BadRequestSchema, init) });
  }
  if (failure.retryDelay !== undefined) {
    details.push({
      desc: RetryInfoSchema,
      value: create(RetryInfoSchema, { retryDelay: failure.retryDelay }),
    });
  }
  const error = new ConnectError(failure.message, failure.code, { [reasonHeader]: reason });
  error.details = details;
  return error;
}

const reasonsByCode = new Map<Code, ErrorReason>([
  [Code.InvalidArgument, ErrorReason.INVALID_REQUEST],
  [Code.ResourceExhausted, ErrorReason.PAYLOAD_TOO_LARGE],
  [Code.Unimplemented, ErrorReason.NOT_IMPLEMENTED],
  [Code.DeadlineExceeded, ErrorReason.UPSTREAM_TIMEOUT],
  [Code.Internal, ErrorReason.INTERNAL],
]);

/** Gives an error that Connect made by itself the details that ours have. */
export function describeError(error: ConnectError): ConnectError {
  const reason = reasonsByCode.get(error.code);
  if (error.details.length > 0 || reason === undefined) {
    return error;
  }
  const described = errorFromFailure(createFailure(reason, error.rawMessage, { code: error.code }));
  for (const [name, value] of error.metadata) {
    described.metadata.set(name, value);
  }
  return described;
}

/** The error for a request with bad fields. */
export function invalidRequest(violations: readonly FieldViolation[]): ConnectError {
  const message = violations.map(({ field, description }) => `${field} ${description}`).join("; ");
  return errorFromFailure(createFailure(ErrorReason.INVALID_REQUEST, message), violations);
}

/** The error for an upstream that the gateway runs without. */
export function upstreamNotConfigured(upstream: string, setting: string): ConnectError {
  return errorFromFailure(
    createFailure(
      ErrorReason.UPSTREAM_NOT_CONFIGURED,
      `the gateway is not configured with ${upstream}: set ${setting}`,
      { metadata: { upstream } },
    ),
  );
}

/** The error for a part of the contract that this version does not have yet. */
export function notImplemented(rpc: string): ConnectError {
  return errorFromFailure(
    createFailure(ErrorReason.NOT_IMPLEMENTED, `this version of taskgate does not have ${rpc} yet`),
  );
}

/**
 * Turns the failure of a call that was ended from outside into what it is: the
 * caller's deadline passed, the caller left, or the gateway stops.
 */
export function errorOfEndedCall(failure: Failure, signal: AbortSignal): ConnectError {
  if (!signal.aborted) {
    return errorFromFailure(failure);
  }
  const reason = ConnectError.from(signal.reason, Code.Canceled);
  if (reason.code !== Code.DeadlineExceeded) {
    return reason;
  }
  const upstream = failure.metadata.upstream ?? "the upstream";
  const message =
    failure.metadata.attempt === "0"
      ? `the deadline ended before the call was sent to ${upstream}: ${failure.message}`
      : `the deadline ended before ${upstream} answered`;
  return errorFromFailure(
    createFailure(ErrorReason.UPSTREAM_TIMEOUT, message, { metadata: failure.metadata }),
  );
}
