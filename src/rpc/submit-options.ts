import type { HandlerContext } from "@connectrpc/connect";
import { WaitFor } from "../../gen/taskgate/v1/receipt_pb.ts";
import type { Submission, SubmitOptions } from "../model/submission.ts";
import { callerKey } from "./caller.ts";
import { errorOfEndedCall } from "./errors.ts";
import { createRequestChecker, type RequestChecker } from "./request-checker.ts";

/** The fields that every stored request has. */
export interface StoredRequest {
  waitFor: WaitFor;
  requestId: string;
  sessionId: string;
}

/** Checks the fields that every stored request has. */
export function checkStoredRequest(request: StoredRequest, checker: RequestChecker): void {
  checker.member("wait_for", request.waitFor, WaitFor);
  checkRequestId(request.requestId, checker);
  checker.text("session_id", request.sessionId);
}

/** Checks what makes a repetition recognisable: it is kept for longer than what it stands for. */
export function checkRequestId(requestId: string, checker: RequestChecker): void {
  checker.text("request_id", requestId);
  const isTooLong = Buffer.byteLength(requestId) > maxRequestIdBytes;
  checker.add("request_id", isTooLong ? `has more than ${maxRequestIdBytes} bytes` : undefined);
}

/** Throws what is wrong with the request id of a frame. */
export function assertRequestId(requestId: string): void {
  const checker = createRequestChecker();
  checkRequestId(requestId, checker);
  checker.throwIfInvalid();
}

const maxRequestIdBytes = 256;

/**
 * Says how a stored request wants to be treated. Unset, outcomes wait until they
 * are delivered and everything else until it is stored.
 */
export function submitOptions(
  request: StoredRequest,
  context: HandlerContext,
  isOutcome: boolean,
): SubmitOptions {
  const waitsForDelivery =
    request.waitFor === WaitFor.DELIVERED || (request.waitFor === WaitFor.UNSPECIFIED && isOutcome);
  return {
    operation: context.method.name,
    caller: context.values.get(callerKey).name,
    waitFor: waitsForDelivery ? "delivered" : "stored",
    requestId: request.requestId,
    sessionId: request.sessionId,
    timeoutMs: () => context.timeoutMs(),
    // Asked for only by who waits: to make one costs as much as the rest of this.
    get signal() {
      return context.signal;
    },
  };
}

/** Returns an accepted submission, and throws the error of one that failed. */
export function assertAccepted(
  submission: Submission,
  context: HandlerContext,
): Extract<Submission, { kind: "accepted" }> {
  if (submission.kind === "failed") {
    throw errorOfEndedCall(submission.failure, context.signal);
  }
  return submission;
}
