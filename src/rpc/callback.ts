import type { ServiceImpl } from "@connectrpc/connect";
import { CallbackService, type CompleteCallbackRequest } from "../../gen/taskgate/v1/callback_pb.ts";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import { Role } from "../../gen/taskgate/v1/gateway_pb.ts";
import { Directive, OnLost } from "../../gen/taskgate/v1/session_pb.ts";
import { failureWithReason } from "../model/failure.ts";
import { createRoute, type Route } from "../model/route.ts";
import { checkTarget, createCallbackPayloads, readTarget } from "./callback-payloads.ts";
import { callerKey } from "./caller.ts";
import { errorFromFailure, errorOfEndedCall, upstreamNotConfigured } from "./errors.ts";
import { heartbeatAnswer, onLostOf } from "./heartbeat-answer.ts";
import type { RequestChecker } from "./request-checker.ts";
import { assertAccepted, checkStoredRequest, submitOptions } from "./submit-options.ts";
import { serveTrackCallback, type TrackCallbackDeps } from "./track-callback.ts";

/** Creates the service that completes callbacks of the Workflow Orchestrator. */
export function createCallbackRoute(deps: TrackCallbackDeps): Route {
  return createRoute(CallbackService, createCallbackService(deps), Role.WORKER);
}

function createCallbackService(deps: TrackCallbackDeps): ServiceImpl<typeof CallbackService> {
  const { bases } = deps;
  const payloads = createCallbackPayloads(deps.limits);

  const checkOf =
    (
      target: CompleteCallbackRequest["target"],
      sessionId: string,
      more?: (checker: RequestChecker) => void,
    ) =>
    (checker: RequestChecker) => {
      more?.(checker);
      checker.text("session_id", sessionId);
      checkTarget(target, checker);
    };

  function assertConfigured(): void {
    if (bases.length === 0) {
      throw upstreamNotConfigured("orchestrator", "TASKGATE_ORCHESTRATOR_URL");
    }
  }

  return {
    async completeCallback(request, context) {
      assertConfigured();
      const body = payloads.result(
        request.payload,
        checkOf(request.target, "", (checker) => checkStoredRequest(request, checker)),
      );
      const target = readTarget(request.target, bases);
      const submission = await deps.complete(target, body, submitOptions(request, context, true));
      return { receipt: assertAccepted(submission, context).receipt };
    },

    async reportCallbackProgress(request, context) {
      assertConfigured();
      const body = payloads.progress(request.progress, checkOf(request.target, request.sessionId));
      const target = readTarget(request.target, bases);
      const caller = context.values.get(callerKey).name;
      const sent = await deps.progress(target, body, caller, request.sessionId, context.signal);
      switch (sent.kind) {
        case "accepted":
          return { directive: Directive.CONTINUE };
        case "over":
          return { directive: Directive.CANCEL, cause: sent.cause };
        case "refused":
          throw errorFromFailure(sent.failure);
        case "failed":
          // A progress that may have been lost is just lost: the next one replaces it.
          throw errorOfEndedCall(
            sent.isInDoubt ? failureWithReason(sent.failure, ErrorReason.UPSTREAM_UNAVAILABLE) : sent.failure,
            context.signal,
          );
        default:
          return sent satisfies never;
      }
    },

    async heartbeatCallback(request, context) {
      assertConfigured();
      const body = payloads.lost(
        request,
        checkOf(request.target, request.sessionId, (checker) =>
          checker.member("on_lost", request.onLost, OnLost),
        ),
      );
      const { task, lostPayload } = deps.leaseOf(readTarget(request.target, bases), body);
      const { name: caller } = context.values.get(callerKey);
      const terms = { caller, onLost: onLostOf(request.onLost), lostPayload };
      return heartbeatAnswer(await deps.leases.beat(task, terms, request.sessionId), deps);
    },

    trackCallback(requests, context) {
      assertConfigured();
      return serveTrackCallback(requests, context, deps);
    },
  };
}
