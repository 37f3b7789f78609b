import { create, type DescMessage, type MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  BadRequestSchema,
  type ErrorInfo,
  ErrorInfoSchema,
  RetryInfoSchema,
} from "../../gen/google/rpc/error_details_pb.ts";
import { ErrorReason, ErrorReasonSchema } from "../../gen/taskgate/v1/error_reason_pb.ts";
import type { Failure } from "../../gen/taskgate/v1/receipt_pb.ts";
import { createFailure, reasonName } from "../model/failure.ts";
import { decodeViolation } from "./decode-violation.ts";

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
  const metadata = Object.fromEntries(
    Object.entries(failure.metadata).map(([name, value]) => [name, cut(value, maxMetadataLength)]),
  );
  const details: ConnectError["details"] = [
    {
      desc: ErrorInfoSchema,
      value: create(ErrorInfoSchema, { reason, domain: "taskgate", metadata }),
    },
  ];
  if (violations.length > 0) {
    const init: MessageInitShape<typeof BadRequestSchema> = {
      fieldViolations: violations.slice(0, maxViolations),
    };
    details.push({ desc: BadRequestSchema, value: create(BadRequestSchema, init) });
  }
  if (failure.retryDelay !== undefined) {
    details.push({
      desc: RetryInfoSchema,
      value: create(RetryInfoSchema, { retryDelay: failure.retryDelay }),
    });
  }
  const error = new ConnectError(cut(failure.message, maxMessageLength), failure.code, {
    [reasonHeader]: reason,
  });
  error.details = details;
  return error;
}

/** The error for one call too many. */
export function tooManyCalls(limit: number): ConnectError {
  return errorFromFailure(
    createFailure(ErrorReason.TOO_MANY_SESSIONS, "the gateway has as many calls under way as it may", {
      metadata: { limit: String(limit) },
      retryAfterMs: 1000,
    }),
  );
}

/** The error for a body that has no room beside those that are not whole yet. */
export function tooManyUnfinishedBytes(limitBytes: number): ConnectError {
  return errorFromFailure(
    createFailure(
      ErrorReason.TOO_MANY_SESSIONS,
      `the request bodies under way have as many bytes as they may: ${limitBytes}`,
      { metadata: { limit_bytes: String(limitBytes) }, retryAfterMs: 1000 },
    ),
  );
}

// gRPC carries errors in headers, twice, and clients take 8 KiB of them.
const maxViolations = 10;
const maxMessageLength = 1000;
const maxMetadataLength = 300;

function cut(text: string, maxLength: number): string {
  return text.length > maxLength ? `${text.slice(0, maxLength - 3).replace(/\p{Cs}$/u, "")}...` : text;
}

/** Turns an error into the failure that it would be in a frame. Anything but a `ConnectError` is a defect. */
export function failureOfError(error: unknown): Failure {
  if (!(error instanceof ConnectError)) {
    throw error;
  }
  const details = error.details.flatMap((detail) =>
    "desc" in detail && detail.desc === ErrorInfoSchema ? [detail.value as ErrorInfo] : [],
  );
  const [info] = details;
  const reason = ErrorReasonSchema.values.find(({ localName }) => localName === info?.reason);
  return createFailure(
    (reason?.number as ErrorReason | undefined) ?? ErrorReason.INTERNAL,
    error.rawMessage,
    {
      code: error.code,
      metadata: info?.metadata ?? {},
    },
  );
}

/** The error that ends a stream. Of anything but a `ConnectError` the caller hears nothing more. */
export function streamError(thrown: unknown, onUnexpectedError: (error: unknown) => void): ConnectError {
  if (thrown instanceof ConnectError) {
    return thrown;
  }
  onUnexpectedError(thrown);
  return new ConnectError("internal error", Code.Internal);
}

const reasonsByCode = new Map<Code, ErrorReason>([
  [Code.InvalidArgument, ErrorReason.INVALID_REQUEST],
  [Code.ResourceExhausted, ErrorReason.PAYLOAD_TOO_LARGE],
  [Code.Unimplemented, ErrorReason.NOT_IMPLEMENTED],
  [Code.DeadlineExceeded, ErrorReason.UPSTREAM_TIMEOUT],
  [Code.Internal, ErrorReason.INTERNAL],
]);

/**
 * Gives an error that Connect made by itself the details that ours have. `input`: what
 * the request should have been, where that is known.
 */
export function describeError(error: ConnectError, input?: DescMessage): ConnectError {
  // Bytes that are no message are the caller's, though Connect calls it internal.
  const code = /^parse binary\b/.test(error.rawMessage) ? Code.InvalidArgument : error.code;
  const reason = reasonsByCode.get(code);
  if (error.details.length > 0 || reason === undefined) {
    return error;
  }
  const violation =
    input && code === Code.InvalidArgument ? decodeViolation(error.rawMessage, input) : undefined;
  const described =
    violation === undefined
      ? errorFromFailure(createFailure(reason, error.rawMessage, { code }))
      : invalidRequest([violation]);
  for (const [name, value] of error.metadata) {
    described.metadata.set(name, value);
  }
  return described;
}

/** The error for a request with bad fields. */
export function invalidRequest(violations: readonly FieldViolation[]): ConnectError {
  const shown = violations.slice(0, maxViolations).map(({ field, description }) => ({
    field: cut(field, maxMetadataLength),
    description: cut(description, maxMetadataLength),
  }));
  const more = violations.length > shown.length ? [`and ${violations.length - shown.length} more`] : [];
  const words = [...shown.map(({ field, description }) => `${field} ${description}`), ...more];
  return errorFromFailure(createFailure(ErrorReason.INVALID_REQUEST, words.join("; ")), shown);
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
