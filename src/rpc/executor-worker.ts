import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import type { ExecutorService } from "../../gen/taskgate/v1/executor_pb.ts";
import { Directive, OnLost } from "../../gen/taskgate/v1/session_pb.ts";
import type { AttemptLease, CallResult, TaskOutcome } from "../model/call-result.ts";
import { createFailure } from "../model/failure.ts";
import { taskEndings } from "../model/task-endings.ts";
import {
  checkAttempt,
  checkDefinitions,
  checkProgress,
  failOutcome,
  successOutcome,
} from "./attempt-requests.ts";
import { callerKey } from "./caller.ts";
import { assertDefinitions } from "./definition-access.ts";
import { errorFromFailure } from "./errors.ts";
import {
  assertNotDraining,
  type ExecutorDeps,
  type ExecutorUpstream,
  requireAidbox,
  unwrap,
} from "./executor-upstream.ts";
import { directiveOf, heartbeatAnswer, onLostOf } from "./heartbeat-answer.ts";
import { longPollTimeoutMs } from "./long-poll-timeout.ts";
import { createRequestChecker, type RequestChecker } from "./request-checker.ts";
import { assertAccepted, checkStoredRequest, type StoredRequest, submitOptions } from "./submit-options.ts";
import { serveWork } from "./work.ts";

type WorkerRpcs = Pick<
  ServiceImpl<typeof ExecutorService>,
  | "pollTasks"
  | "longPollTasks"
  | "startTask"
  | "heartbeatTask"
  | "reportTaskProgress"
  | "succeedTask"
  | "failTask"
  | "work"
>;

/** The RPCs with which a worker takes tasks and reports on them. */
export function createWorkerRpcs(deps: ExecutorDeps): WorkerRpcs {
  const { limits, leases, taskOf } = deps;

  async function report(
    aidbox: ExecutorUpstream,
    outcome: TaskOutcome,
    request: StoredRequest,
    context: HandlerContext,
  ) {
    const submission = await deps.report(outcome, submitOptions(request, context, true));
    const { receipt, answer } = assertAccepted(submission, context);
    const task = aidbox.readAnswer(answer);
    return task === undefined ? { receipt } : { receipt, task };
  }

  // A beat after the end is no error: it is how a worker learns to stop.
  async function endingOf(
    request: { id: string; execId: string },
    result: CallResult<AttemptLease>,
  ): Promise<ErrorReason | undefined> {
    if (result.kind === "ok" || !taskEndings.has(result.failure.reason)) {
      return undefined;
    }
    const { reason } = result.failure;
    await leases.over(taskOf(request), reason);
    deps.upstream?.beats.forget(request);
    return reason === ErrorReason.TASK_UNKNOWN ? undefined : reason;
  }

  return {
    async pollTasks(request, context) {
      const aidbox = requireAidbox(deps.upstream);
      assertNotDraining(deps);
      const checker = createRequestChecker();
      checkPoll(request, checker);
      checker.throwIfInvalid();
      assertDefinitions(context.values.get(callerKey), request);
      return { tasks: unwrap(await aidbox.poll(request, context.signal), context) };
    },

    async longPollTasks(request, context) {
      const aidbox = requireAidbox(deps.upstream);
      assertNotDraining(deps);
      const checker = createRequestChecker();
      checkPoll(request, checker);
      const timeoutMs = longPollTimeoutMs(request.timeout, context.timeoutMs() ?? limits.maxWaitMs);
      checker.add("timeout", timeoutMs === undefined ? "must not be negative" : undefined);
      checker.throwIfInvalid();
      assertDefinitions(context.values.get(callerKey), request);
      const result = await aidbox.longPoll(request, timeoutMs ?? 0, context.signal);
      return { tasks: unwrap(result, context) };
    },

    async startTask(request, context) {
      const aidbox = requireAidbox(deps.upstream);
      const checker = createRequestChecker();
      checkAttempt(request, checker);
      checker.member("on_lost", request.onLost, OnLost);
      checker.text("session_id", request.sessionId);
      checker.throwIfInvalid();
      const { onLost, sessionId } = request;
      const { name: caller } = context.values.get(callerKey);
      const failure = sessionId === "" ? undefined : leases.admit(taskOf(request), caller, sessionId);
      if (failure !== undefined) {
        throw errorFromFailure(failure);
      }
      const task = unwrap(await aidbox.start(request, context.signal), context);
      const terms = { caller, onLost: onLostOf(onLost), lostPayload: "" };
      // It has begun, whatever becomes of the lease: the first beat tells.
      if (sessionId !== "") {
        await leases.hold(taskOf(request), terms, sessionId);
      } else if (onLost !== OnLost.UNSPECIFIED) {
        await leases.beat(taskOf(request), terms, "");
      }
      return { task };
    },

    async heartbeatTask(request, context) {
      const aidbox = requireAidbox(deps.upstream);
      const checker = createRequestChecker();
      checkAttempt(request, checker);
      checker.text("message", request.message);
      checker.member("on_lost", request.onLost, OnLost);
      checker.text("session_id", request.sessionId);
      checker.throwIfInvalid();
      const { name: caller } = context.values.get(callerKey);
      const terms = { caller, onLost: onLostOf(request.onLost), lostPayload: "" };
      const leased = await leases.beat(taskOf(request), terms, request.sessionId);
      const answer = heartbeatAnswer(leased, deps);
      const leaseExpireMs = leased.kind === "answered" ? leased.answer.leaseExpireMs : undefined;
      if (leaseExpireMs === undefined) {
        return answer;
      }
      const { id, execId, message } = request;
      const result = await whileCalled(aidbox.beats.beat({ id, execId }, message), context.signal);
      const cause = await endingOf(request, result);
      if (cause !== undefined) {
        return { directive: Directive.CANCEL, cause, nextHeartbeat: answer.nextHeartbeat };
      }
      const lease = unwrap(result, context);
      const expireMs = Math.min(leaseExpireMs, lease.leaseExpireMs ?? leaseExpireMs);
      // A definition may have a shorter timeout than three of the gateway's intervals.
      const nextMs = Math.min(deps.heartbeatIntervalMs, Math.max(500, (expireMs - deps.now()) / 3));
      return {
        ...answer,
        leaseExpireTime: timestampFromMs(expireMs),
        nextHeartbeat: durationFromMs(Math.floor(nextMs)),
      };
    },

    async reportTaskProgress(request, context) {
      const aidbox = requireAidbox(deps.upstream);
      const checker = createRequestChecker();
      checker.text("session_id", request.sessionId);
      const progress = checkProgress(request, checker);
      const { name: caller } = context.values.get(callerKey);
      const refused = leases.admitBeat(taskOf(request), caller, request.sessionId);
      if (refused?.kind === "failed") {
        throw errorFromFailure(refused.failure);
      }
      if (refused?.answer.leaseExpireMs === undefined && refused !== undefined) {
        return directiveOf(refused.answer);
      }
      const { id, execId } = request;
      const result = await whileCalled(aidbox.beats.progress({ id, execId }, progress), context.signal);
      const cause = await endingOf(request, result);
      if (cause !== undefined) {
        return { directive: Directive.CANCEL, cause };
      }
      const times = [unwrap(result, context).leaseExpireMs, refused?.answer.leaseExpireMs];
      const known = times.filter((time) => time !== undefined);
      return directiveOf({
        directive: refused?.answer.directive ?? Directive.CONTINUE,
        cause: refused?.answer.cause ?? ErrorReason.UNSPECIFIED,
        leaseExpireMs: known.length === 0 ? undefined : Math.min(...known),
      });
    },

    async succeedTask(request, context) {
      const aidbox = requireAidbox(deps.upstream);
      const checker = createRequestChecker();
      checkStoredRequest(request, checker);
      return report(aidbox, successOutcome(request, limits, checker), request, context);
    },

    async failTask(request, context) {
      const aidbox = requireAidbox(deps.upstream);
      const checker = createRequestChecker();
      checkStoredRequest(request, checker);
      return report(aidbox, failOutcome(request, limits, checker), request, context);
    },

    work(requests, context) {
      const { pool, readAnswer } = requireAidbox(deps.upstream);
      return serveWork(requests, context, { ...deps, pool, readAnswer });
    },
  };
}

function checkPoll(
  request: { taskDefinitions: string[]; workflowDefinitions: string[]; maxBatchSize: number },
  checker: RequestChecker,
): void {
  checkDefinitions(request, checker);
  checker.add("max_batch_size", request.maxBatchSize < 0 ? "must not be negative" : undefined);
}

// Several may wait for one call, so that none of them may end it.
function whileCalled<Value>(
  result: Promise<CallResult<Value>>,
  signal: AbortSignal,
): Promise<CallResult<Value>> {
  return new Promise((resolve, reject) => {
    const onAbort = () => resolve({ kind: "failed", failure: ended });
    if (signal.aborted) {
      onAbort();
    }
    signal.addEventListener("abort", onAbort, { once: true });
    result.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}

const ended = createFailure(ErrorReason.UPSTREAM_UNAVAILABLE, "the call ended before aidbox answered", {
  metadata: { upstream: "aidbox" },
});
