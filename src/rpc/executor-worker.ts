import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import type { ExecutorService } from "../../gen/taskgate/v1/executor_pb.ts";
import { Directive, OnLost } from "../../gen/taskgate/v1/session_pb.ts";
import type { Attempt, AttemptLease, CallResult, TaskOutcome } from "../model/call-result.ts";
import { notImplemented } from "./errors.ts";
import { type ExecutorDeps, type ExecutorUpstream, requireAidbox, unwrap } from "./executor-upstream.ts";
import { jsonText } from "./json-choice.ts";
import { longPollTimeoutMs } from "./long-poll-timeout.ts";
import { assertSize, createRequestChecker, type RequestChecker } from "./request-checker.ts";
import { assertAccepted, checkStoredRequest, type StoredRequest, submitOptions } from "./submit-options.ts";
import { workflowActionsText } from "./workflow-actions.ts";

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
  const { limits } = deps;
  const rules = { maxDepth: limits.maxPayloadDepth };

  async function report(
    aidbox: ExecutorUpstream,
    outcome: TaskOutcome,
    request: StoredRequest,
    context: HandlerContext,
  ) {
    assertSize(outcome.verb === "success" ? "result" : "error", outcome.json ?? "", limits.maxPayloadBytes);
    const submission = await deps.report(outcome, submitOptions(request, context, true));
    const { receipt, answer } = assertAccepted(submission, context);
    const task = aidbox.readAnswer(answer);
    return task === undefined ? { receipt } : { receipt, task };
  }

  return {
    async pollTasks(request, context) {
      const aidbox = requireAidbox(deps.upstream);
      const checker = createRequestChecker();
      checkPoll(request, checker);
      checker.throwIfInvalid();
      return { tasks: unwrap(await aidbox.poll(request, context.signal), context) };
    },

    async longPollTasks(request, context) {
      const aidbox = requireAidbox(deps.upstream);
      const checker = createRequestChecker();
      checkPoll(request, checker);
      const timeoutMs = longPollTimeoutMs(request.timeout, context.timeoutMs() ?? limits.maxWaitMs);
      checker.add("timeout", timeoutMs === undefined ? "must not be negative" : undefined);
      checker.throwIfInvalid();
      const result = await aidbox.longPoll(request, timeoutMs ?? 0, context.signal);
      return { tasks: unwrap(result, context) };
    },

    async startTask(request, context) {
      const aidbox = requireAidbox(deps.upstream);
      const checker = createRequestChecker();
      checkAttempt(request, checker);
      checker.member("on_lost", request.onLost, OnLost);
      checker.throwIfInvalid();
      return { task: unwrap(await aidbox.start(request, context.signal), context) };
    },

    async heartbeatTask(request, context) {
      const aidbox = requireAidbox(deps.upstream);
      const checker = createRequestChecker();
      checkAttempt(request, checker);
      checker.text("message", request.message);
      checker.member("on_lost", request.onLost, OnLost);
      checker.throwIfInvalid();
      const result = await aidbox.heartbeat(request, context.signal);
      const leaseMs = result.kind === "ok" ? leaseLeftMs(result.value, deps.now()) : undefined;
      // A definition may have a shorter timeout than three of the gateway's intervals.
      const nextMs = Math.max(500, Math.min(deps.heartbeatIntervalMs, (leaseMs ?? Infinity) / 3));
      return { ...answerBeat(result, context), nextHeartbeat: durationFromMs(Math.floor(nextMs)) };
    },

    async reportTaskProgress(request, context) {
      const aidbox = requireAidbox(deps.upstream);
      const checker = createRequestChecker();
      checkAttempt(request, checker);
      checker.add("current", request.current === undefined ? "is required" : undefined);
      checker.text("unit", request.unit);
      checker.throwIfInvalid();
      const { current = 0n, total, unit } = request;
      return answerBeat(await aidbox.progress(request, { current, total, unit }, context.signal), context);
    },

    async succeedTask(request, context) {
      const aidbox = requireAidbox(deps.upstream);
      const checker = createRequestChecker();
      checkAttempt(request, checker);
      const { id, execId, outcome } = request;
      const json =
        outcome.case === "actions"
          ? workflowActionsText(outcome.value, rules, checker)
          : jsonText(outcome, "", rules, checker);
      checkStoredRequest(request, checker);
      checker.throwIfInvalid();
      return report(aidbox, { verb: "success", id, execId, json }, request, context);
    },

    async failTask(request, context) {
      const aidbox = requireAidbox(deps.upstream);
      const checker = createRequestChecker();
      checkAttempt(request, checker);
      const json = jsonText(request.reason, "", rules, checker);
      checkStoredRequest(request, checker);
      checker.throwIfInvalid();
      return report(aidbox, { verb: "fail", id: request.id, execId: request.execId, json }, request, context);
    },

    // biome-ignore lint/correctness/useYield: it ends before its first frame.
    async *work() {
      throw notImplemented("Work");
    },
  };
}

function checkPoll(
  request: { taskDefinitions: string[]; workflowDefinitions: string[]; maxBatchSize: number },
  checker: RequestChecker,
): void {
  if (request.taskDefinitions.length === 0 && request.workflowDefinitions.length === 0) {
    checker.add("task_definitions", "is required unless workflow_definitions is set");
  }
  request.taskDefinitions.forEach((name, index) => {
    checker.requireText(`task_definitions[${index}]`, name);
  });
  request.workflowDefinitions.forEach((name, index) => {
    checker.requireText(`workflow_definitions[${index}]`, name);
  });
  checker.add("max_batch_size", request.maxBatchSize < 0 ? "must not be negative" : undefined);
}

function checkAttempt(attempt: Attempt, checker: RequestChecker): void {
  checker.requireText("id", attempt.id);
  checker.requireText("exec_id", attempt.execId);
}

function leaseLeftMs(lease: AttemptLease, nowMs: number): number | undefined {
  return lease.leaseExpireMs === undefined ? undefined : lease.leaseExpireMs - nowMs;
}

const endings: ReadonlySet<ErrorReason> = new Set([
  ErrorReason.TASK_FINISHED,
  ErrorReason.TASK_CANCELLED,
  ErrorReason.LEASE_EXPIRED,
  ErrorReason.LEASE_SUPERSEDED,
]);

// A beat after the end is no error: it is how a worker learns to stop.
function answerBeat(result: CallResult<AttemptLease>, context: HandlerContext) {
  if (result.kind === "failed" && endings.has(result.failure.reason)) {
    return { directive: Directive.CANCEL, cause: result.failure.reason };
  }
  const { leaseExpireMs } = unwrap(result, context);
  return leaseExpireMs === undefined
    ? { directive: Directive.CONTINUE }
    : { directive: Directive.CONTINUE, leaseExpireTime: timestampFromMs(leaseExpireMs) };
}
