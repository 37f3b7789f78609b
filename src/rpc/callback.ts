import type { ServiceImpl } from "@connectrpc/connect";
import {
  CallbackService,
  type CompleteCallbackRequest,
  type JobResult,
  type ReportCallbackProgressRequest,
} from "../../gen/taskgate/v1/callback_pb.ts";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import { Role } from "../../gen/taskgate/v1/gateway_pb.ts";
import { Directive } from "../../gen/taskgate/v1/session_pb.ts";
import type { AttemptResult } from "../model/attempt-result.ts";
import { type CallbackTarget, parseCallbackRoute, parseCallbackUrl } from "../model/callback-target.ts";
import { createFailure, failureWithReason } from "../model/failure.ts";
import {
  checkJsonObjectText,
  checkJsonText,
  type JsonRules,
  type JsonTextResult,
  jsonTextFromObject,
} from "../model/json-text.ts";
import type { Limits } from "../model/limits.ts";
import { createRoute, type Route } from "../model/route.ts";
import type { Submission, SubmitOptions } from "../model/submission.ts";
import { callerKey } from "./caller.ts";
import { errorFromFailure, errorOfEndedCall, notImplemented, upstreamNotConfigured } from "./errors.ts";
import { assertSize, createRequestChecker, type RequestChecker } from "./request-checker.ts";
import { assertAccepted, checkStoredRequest, submitOptions } from "./submit-options.ts";

export interface CallbackDeps {
  /** Base URLs of the configured Orchestrators, without a trailing slash. */
  bases: readonly string[];
  /** Takes a result, a JSON object as text, towards the Orchestrator. */
  complete: (target: CallbackTarget, body: string, options: SubmitOptions) => Promise<Submission>;
  /**
   * Sends a progress, a JSON object or string as text, when no other request of the
   * callback is under way. `finished`: its result is stored; `unknown`: it is another
   * caller's; nothing was sent. Rejects when the signal aborts before.
   */
  progress: (
    target: CallbackTarget,
    body: string,
    caller: string,
    signal: AbortSignal,
  ) => Promise<{ kind: "done"; result: AttemptResult } | { kind: "finished" } | { kind: "unknown" }>;
  limits: Limits;
}

type Target = CompleteCallbackRequest["target"];

/** Creates the service that completes callbacks of the Workflow Orchestrator. */
export function createCallbackRoute(deps: CallbackDeps): Route {
  return createRoute(CallbackService, createCallbackService(deps), Role.WORKER);
}

function createCallbackService(deps: CallbackDeps): ServiceImpl<typeof CallbackService> {
  const { bases, limits } = deps;
  const rules = { maxDepth: limits.maxPayloadDepth, int64Only: true };

  function payloadText(payload: CompleteCallbackRequest["payload"], checker: RequestChecker): string {
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

  return {
    async completeCallback(request, context) {
      assertConfigured(bases);
      const checker = createRequestChecker();
      const body = payloadText(request.payload, checker);
      checkStoredRequest(request, checker);
      const target = checkTarget(request.target, bases, checker);
      assertSize("payload", body, limits.maxPayloadBytes);
      const submission = await deps.complete(target, body, submitOptions(request, context, true));
      return { receipt: assertAccepted(submission, context).receipt };
    },

    async reportCallbackProgress(request, context) {
      assertConfigured(bases);
      const checker = createRequestChecker();
      const body = progressText(request.progress, checker);
      const target = checkTarget(request.target, bases, checker);
      assertSize("progress", body, limits.maxPayloadBytes);
      const caller = context.values.get(callerKey).name;
      const sent = await deps.progress(target, body, caller, context.signal);
      if (sent.kind === "unknown") {
        throw errorFromFailure(
          createFailure(ErrorReason.TASK_UNKNOWN, `there is no callback of process ${target.processId}`, {
            metadata: { upstream: "orchestrator" },
          }),
        );
      }
      if (sent.kind === "finished") {
        return { directive: Directive.CANCEL, cause: ErrorReason.TASK_FINISHED };
      }
      const { result } = sent;
      if (result.kind === "accepted") {
        return { directive: Directive.CONTINUE };
      }
      // A progress that may have been lost is just lost: the next one replaces it.
      throw errorOfEndedCall(
        result.kind === "inDoubt"
          ? failureWithReason(result.failure, ErrorReason.UPSTREAM_UNAVAILABLE)
          : result.failure,
        context.signal,
      );
    },

    heartbeatCallback() {
      throw notImplemented("HeartbeatCallback");
    },

    // biome-ignore lint/correctness/useYield: it ends before its first frame.
    async *trackCallback() {
      throw notImplemented("TrackCallback");
    },
  };
}

function assertConfigured(bases: readonly string[]): void {
  if (bases.length === 0) {
    throw upstreamNotConfigured("orchestrator", "TASKGATE_ORCHESTRATOR_URL");
  }
}

// Asked last: what is wrong with a target is an error of another kind.
function checkTarget(target: Target, bases: readonly string[], checker: RequestChecker): CallbackTarget {
  if (target.case === undefined) {
    checker.add("target", "is required: callback_route or callback_url");
  }
  checker.throwIfInvalid();
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

// The flat form that LSO sends and validation steps read (FACT).
function jobResultText(result: JobResult, rules: JsonRules): JsonTextResult {
  return checkJsonText(
    JSON.stringify({
      job_id: result.jobId || undefined,
      output: result.output,
      return_code: result.returnCode,
      status: result.status || undefined,
    }),
    rules,
  );
}

function checkObjectOrString(text: string, rules: JsonRules): JsonTextResult {
  const result = checkJsonText(text, rules);
  return "text" in result && !/^[ \t\r\n]*[{"]/.test(text)
    ? { problem: "must be a JSON object or a JSON string" }
    : result;
}
