import { create } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import { FailureSchema } from "../../gen/taskgate/v1/receipt_pb.ts";
import { createFailure, failureWithReason, reasonName } from "../../src/model/failure.ts";

// The contract's table. `Invalid params` of Aidbox has another code than the rest
// of its reason; that one is given where it applies.
const contract: readonly (readonly [name: keyof typeof ErrorReason, code: Code])[] = [
  ["INVALID_REQUEST", Code.InvalidArgument],
  ["UPSTREAM_NOT_CONFIGURED", Code.FailedPrecondition],
  ["TASK_UNKNOWN", Code.NotFound],
  ["SESSION_UNKNOWN", Code.NotFound],
  ["DELIVERY_UNKNOWN", Code.NotFound],
  ["CONFLICTING_OUTCOME", Code.AlreadyExists],
  ["REQUEST_ID_REUSED", Code.AlreadyExists],
  ["TASK_FINISHED", Code.FailedPrecondition],
  ["TASK_CANCELLED", Code.FailedPrecondition],
  ["LEASE_SUPERSEDED", Code.FailedPrecondition],
  ["LEASE_EXPIRED", Code.FailedPrecondition],
  ["UPSTREAM_REJECTED", Code.FailedPrecondition],
  ["UPSTREAM_AUTH", Code.FailedPrecondition],
  ["UPSTREAM_UNAVAILABLE", Code.Unavailable],
  ["UPSTREAM_UNCERTAIN", Code.Unknown],
  ["UPSTREAM_TIMEOUT", Code.DeadlineExceeded],
  ["CALLBACK_NOT_ALLOWED", Code.PermissionDenied],
  ["NOT_PERMITTED", Code.PermissionDenied],
  ["OUTBOX_FULL", Code.ResourceExhausted],
  ["TOO_MANY_SESSIONS", Code.ResourceExhausted],
  ["PAYLOAD_TOO_LARGE", Code.ResourceExhausted],
  ["DRAINING", Code.Unavailable],
  ["TOKEN_MISSING", Code.Unauthenticated],
  ["TOKEN_INVALID", Code.Unauthenticated],
  ["NOT_IMPLEMENTED", Code.Unimplemented],
  ["INTERNAL", Code.Internal],
  // No failure has it; without a code it would be no error.
  ["UNSPECIFIED", Code.Unknown],
];

test.each(contract)("%s has the code of the contract and its name on the wire", (name, code) => {
  const reason = ErrorReason[name];
  expect(createFailure(reason, "why")).toEqual(
    create(FailureSchema, { code, reason, message: "why", metadata: {} }),
  );
  expect(reasonName(reason)).toBe(name);
});

test("no reason of the enum is missing in the table", () => {
  const known = Object.keys(ErrorReason).filter((name) => Number.isNaN(Number(name)));
  expect(contract.map(([name]) => name).sort()).toEqual(known.sort());
});

test("a reason that a newer version has made is unspecified and unknown", () => {
  const reason = 9999 as ErrorReason;
  expect(reasonName(reason)).toBe("UNSPECIFIED");
  expect(createFailure(reason, "why").code).toBe(Code.Unknown);
});

test("a failure carries metadata, a delay and a code of its own", () => {
  const options = {
    metadata: { upstream: "aidbox", http_status: "503" },
    retryAfterMs: 61_250,
    code: Code.InvalidArgument,
  };
  expect(createFailure(ErrorReason.UPSTREAM_REJECTED, "why", options)).toEqual(
    create(FailureSchema, {
      code: Code.InvalidArgument,
      reason: ErrorReason.UPSTREAM_REJECTED,
      message: "why",
      metadata: { upstream: "aidbox", http_status: "503" },
      retryDelay: { seconds: 61n, nanos: 250_000_000 },
    }),
  );
});

test("a failure for another reason has that reason's code and all else unchanged", () => {
  const failure = createFailure(ErrorReason.UPSTREAM_UNCERTAIN, "why", {
    metadata: { upstream: "aidbox" },
    retryAfterMs: 1000,
  });
  expect(failureWithReason(failure, ErrorReason.TASK_UNKNOWN)).toEqual(
    create(FailureSchema, {
      code: Code.NotFound,
      reason: ErrorReason.TASK_UNKNOWN,
      message: "why",
      metadata: { upstream: "aidbox" },
      retryDelay: { seconds: 1n, nanos: 0 },
    }),
  );
  expect(failure.reason).toBe(ErrorReason.UPSTREAM_UNCERTAIN);
});
