import type {
  CompleteCallbackRequest,
  HeartbeatCallbackRequest,
  JobResult,
  ReportCallbackProgressRequest,
} from "../../gen/taskgate/v1/callback_pb.ts";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import { type CallbackTarget, parseCallbackRoute, parseCallbackUrl } from "../model/callback-target.ts";
import { createFailure } from "../model/failure.ts";
import {
  checkJsonObjectText,
  checkJsonText,
  type JsonRules,
  type JsonTextResult,
  jsonTextFromObject,
} from "../model/json-text.ts";
import type { Limits } from "../model/limits.ts";
import { errorFromFailure } from "./errors.ts";
import { assertSize, createRequestChecker, type RequestChecker } from "./request-checker.ts";

type Check = (checker: RequestChecker) => void;

/**
 * Reads what a callback is told, the same from a call and from a frame, as JSON text.
 * Each throws what is wrong with all of the request; `check` is asked what is wrong
 * with the rest of it.
 */
export function createCallbackPayloads({ maxPayloadBytes, maxPayloadDepth }: Limits) {
  const rules = { maxDepth: maxPayloadDepth, int64Only: true };

  function read(field: string, check: Check, textOf: (checker: RequestChecker) => string): string {
    const checker = createRequestChecker();
    const body = textOf(checker);
    check(checker);
    checker.throwIfInvalid();
    assertSize(field, body, maxPayloadBytes);
    return body;
  }

  return {
    /** A result: a JSON object. */
    result: (payload: CompleteCallbackRequest["payload"], check: Check): string =>
      read("payload", check, (checker) => resultText(payload, rules, checker)),

    /** A progress: a JSON object or a JSON string. */
    progress: (progress: ReportCallbackProgressRequest["progress"], check: Check): string =>
      read("progress", check, (checker) => progressText(progress, rules, checker)),

    /** What is sent when the worker is lost: what it has left, or a result that says so. */
    lost: (request: Pick<HeartbeatCallbackRequest, "jobId" | "lost">, check: Check): string =>
      read("lost_payload", check, (checker) => {
        checker.text("job_id", request.jobId);
        return lostText(request, rules, checker);
      }),
  };
}

/** Reads which callback is meant. Throws CALLBACK_NOT_ALLOWED for one that the gateway does not serve. */
export function readTarget(
  target: CompleteCallbackRequest["target"],
  bases: readonly string[],
): CallbackTarget {
  const [field, parsed] =
    target.case === "callbackUrl"
      ? ["callback_url", parseCallbackUrl(target.value, bases)]
      : ["callback_route", parseCallbackRoute(target.value ?? "", bases)];
  if ("target" in parsed) {
    return parsed.target;
  }
  throw errorFromFailure(
    createFailure(ErrorReason.CALLBACK_NOT_ALLOWED, `${field} ${parsed.problem}`, {
      metadata: { upstream: "orchestrator" },
    }),
    [{ field, description: parsed.problem }],
  );
}

/** Adds that no callback is named, if none is. */
export function checkTarget(target: CompleteCallbackRequest["target"], checker: RequestChecker): void {
  if (target.case === undefined) {
    checker.add("target", "is required: callback_route or callback_url");
  }
}

function resultText(
  payload: CompleteCallbackRequest["payload"],
  rules: JsonRules,
  checker: RequestChecker,
): string {
  switch (payload.case) {
    case "result":
      return checker.json("result", jobResultText(payload.value, rules));
    case "object":
      return checker.json("object", jsonTextFromObject(payload.value, rules));
    case "json":
      return checker.json("json", checkJsonObjectText(payload.value, rules));
    case undefined:
      checker.add("payload", "is required: result, object or json");
      return "";
    default:
      return payload satisfies never;
  }
}

function progressText(
  progress: ReportCallbackProgressRequest["progress"],
  rules: JsonRules,
  checker: RequestChecker,
): string {
  switch (progress.case) {
    case "text":
      checker.text("text", progress.value);
      return JSON.stringify(progress.value);
    case "object":
      return checker.json("object", jsonTextFromObject(progress.value, rules));
    case "json":
      return checker.json("json", checkObjectOrString(progress.value, rules));
    case undefined:
      checker.add("progress", "is required: text, object or json");
      return "";
    default:
      return progress satisfies never;
  }
}

function lostText(
  { jobId, lost }: Pick<HeartbeatCallbackRequest, "jobId" | "lost">,
  rules: JsonRules,
  checker: RequestChecker,
): string {
  switch (lost.case) {
    case "lostPayload":
      return checker.json("lost_payload", jsonTextFromObject(lost.value, rules));
    case "lostPayloadJson":
      return checker.json("lost_payload_json", checkJsonObjectText(lost.value, rules));
    case undefined:
      return flatResult({ jobId, output: [lostLine], returnCode: -1, status: "failed" });
    default:
      return lost satisfies never;
  }
}

const lostLine = "the worker is lost: its heartbeats have stopped";

function jobResultText(result: JobResult, rules: JsonRules): JsonTextResult {
  return checkJsonText(flatResult(result), rules);
}

// The flat form that LSO sends and validation steps read (FACT).
function flatResult(result: Pick<JobResult, "jobId" | "output" | "returnCode" | "status">): string {
  return JSON.stringify({
    job_id: result.jobId || undefined,
    output: result.output,
    return_code: result.returnCode,
    status: result.status || undefined,
  });
}

function checkObjectOrString(text: string, rules: JsonRules): JsonTextResult {
  const result = checkJsonText(text, rules);
  return "text" in result && !/^[ \t\r\n]*[{"]/.test(text)
    ? { problem: "must be a JSON object or a JSON string" }
    : result;
}
