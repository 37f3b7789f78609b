import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import type {
  Activity,
  CreateTaskRequest,
  CreateWorkflowRequest,
  GetTaskRequest,
  GetWorkflowRequest,
  HeartbeatTaskRequest,
  ListTasksRequest,
  ListWorkflowsRequest,
  LongPollTasksRequest,
  PollTasksRequest,
  Task,
  TaskLogEntry,
  Workflow,
} from "../../gen/taskgate/v1/executor_pb.ts";
import type { Failure } from "../../gen/taskgate/v1/receipt_pb.ts";
import type { AttemptFailure, AttemptResult } from "../model/attempt-result.ts";
import type { Attempt, AttemptLease, CallResult, TaskOutcome } from "../model/call-result.ts";
import type { UpstreamCapabilities } from "../model/capabilities.ts";
import type { NewDelivery, SentDelivery } from "../model/delivery.ts";
import { createFailure, failureWithReason } from "../model/failure.ts";
import type { LeasedTask, LeaseRecord } from "../model/lease.ts";
import type { WorkDefinitions } from "../model/work-pool.ts";
import { createAidboxCall, type Pick, resource, resources } from "./aidbox-call.ts";
import {
  attemptParams,
  createParams,
  failParams,
  getTaskParams,
  getWorkflowParams,
  heartbeatParams,
  idParams,
  listTasksParams,
  listWorkflowsParams,
  pollParams,
  progressParams,
  successParams,
} from "./aidbox-params.ts";
import {
  activityFromResource,
  logEntryFromResource,
  taskFromResource,
  timeMs,
  workflowFromResource,
} from "./aidbox-resource.ts";
import { type AidboxRpc, aidboxBody } from "./aidbox-rpc.ts";
import type { JsonNode } from "./yaml-reader.ts";

/** FACT: no call gives a task back; its timer does. */
export const aidboxCapabilities: UpstreamCapabilities = {
  pull: true,
  cancelDetection: true,
  handBack: false,
  progress: true,
};

export interface AidboxOptions {
  rpc: AidboxRpc;
  /** The same endpoint over connections of its own: long-polls hold theirs for a minute. */
  longPollRpc: AidboxRpc;
  /** And once more for those of the streams, which callers' own long-polls must not hold up. */
  workPollRpc: AidboxRpc;
  /** How long one call may take; a long-poll adds it to its own timeout. */
  timeoutMs: number;
  /**
   * How `awf.task/notify` names what it notifies of. Aidbox's table says `heartbeat`, its
   * sample `awf.task/heartbeat`; no source shows the one for progress.
   */
  notifications: { heartbeat: string; progress: string };
}

/** Aidbox, as the gateway calls it. */
export type Aidbox = ReturnType<typeof createAidbox>;

/** The attempt as a task that is leased. A retry of the task has another key. */
export function attemptTask({ id, execId }: Attempt): LeasedTask {
  return { upstream: "aidbox", lane: "aidbox", key: `${id}/${execId}`, taskId: id, attempt: execId };
}

/**
 * Says how Aidbox is told that an attempt's worker is lost: without an `error`, which
 * the definition's schema could refuse.
 */
export function prepareLostTask({ task }: LeaseRecord): NewDelivery {
  return prepareTaskOutcome({ verb: "fail", id: task.taskId, execId: task.attempt, json: undefined });
}

/** Says how an outcome leaves for Aidbox. */
export function prepareTaskOutcome(outcome: TaskOutcome): NewDelivery {
  const method = `awf.task/${outcome.verb}`;
  const params =
    outcome.verb === "success" ? successParams(outcome, outcome.json) : failParams(outcome, outcome.json);
  return {
    ...attemptTask(outcome),
    kind: "outcome",
    outcomeTag: outcome.verb,
    target: method,
    body: aidboxBody(method, params),
  };
}

/** Creates the calls to Aidbox. */
export function createAidbox(options: AidboxOptions) {
  const { rpc, timeoutMs, notifications } = options;
  const call = createAidboxCall(rpc, timeoutMs);
  const longPollCall = createAidboxCall(options.longPollRpc, timeoutMs);
  const workPollCall = createAidboxCall(options.workPollRpc, timeoutMs);

  async function notify(
    attempt: Attempt,
    params: string,
    signal?: AbortSignal,
  ): Promise<CallResult<AttemptLease>> {
    const result = await call.read("awf.task/notify", params, leaseOf, signal);
    return call.explained(result, attempt, signal);
  }

  function stateOf(id: string, signal?: AbortSignal): Promise<CallResult<AttemptState>> {
    return call.readKnown("awf.task/status", idParams(id), attemptState, signal);
  }

  async function start(attempt: Attempt, signal?: AbortSignal): Promise<CallResult<Task>> {
    const result = await call.change("awf.task/start", attemptParams(attempt), task, signal);
    return call.explained(result, attempt, signal);
  }

  // Whether an earlier attempt was taken, as the task itself tells; undefined: it was not.
  async function settleDoubt(
    { id, execId }: Attempt,
    method: string,
    signal?: AbortSignal,
  ): Promise<AttemptResult | undefined> {
    const found = await stateOf(id, signal);
    if (found.kind === "failed") {
      const { failure } = found;
      const kind = failure.reason === ErrorReason.UPSTREAM_AUTH ? "unauthorized" : "unavailable";
      return failure.reason === ErrorReason.TASK_UNKNOWN ? unsettled(failure) : { kind, failure };
    }
    const state = found.value;
    const isAnothers = typeof state.execId === "string" && state.execId !== execId;
    if (isAnothers || (state.status === "done" && state.outcome !== outcomeOf[method])) {
      const failure = createFailure(
        ErrorReason.LEASE_SUPERSEDED,
        "aidbox holds another attempt or another outcome of the task",
        { metadata: { upstream: "aidbox" } },
      );
      return { kind: "rejected", failure };
    }
    const isOurs = state.execId === execId;
    if (isOurs && state.status === "done") {
      return { kind: "accepted", answer: state.resourceJson };
    }
    return isOurs && state.status === "in-progress"
      ? undefined
      : unsettled(
          createFailure(
            ErrorReason.UPSTREAM_UNCERTAIN,
            `the task is ${state.status}, which does not tell whether aidbox took the outcome`,
            { metadata: { upstream: "aidbox" } },
          ),
        );
  }

  async function explainRefusal(
    result: AttemptFailure,
    attempt: Attempt,
    signal?: AbortSignal,
  ): Promise<AttemptFailure> {
    const { result: explained, state } = await call.explain<never>(
      { kind: "failed", failure: result.failure },
      attempt,
      signal,
    );
    if (explained.kind === "ok" || explained.failure.reason !== ErrorReason.UPSTREAM_REJECTED) {
      return explained.kind === "ok" ? result : { kind: "rejected", failure: explained.failure };
    }
    const found = state ?? (await call.readKnown("awf.task/status", idParams(attempt.id), resource, signal));
    const { status, execId } = found.kind === "ok" ? stateOfResource(found.value) : {};
    return { ...result, isTaskOpen: status === "in-progress" && execId === attempt.execId };
  }

  return {
    /** Takes tasks that are ready: `requested` from now on. */
    poll: (request: PollTasksRequest, signal?: AbortSignal): Promise<CallResult<Task[]>> =>
      call.read("awf.task/poll", pollParams(request), tasks, signal),

    /** Takes tasks that are ready and lets Aidbox wait up to `pollTimeoutMs` for one. */
    longPoll: (
      request: Omit<LongPollTasksRequest, "timeout">,
      pollTimeoutMs: number,
      signal?: AbortSignal,
    ): Promise<CallResult<Task[]>> =>
      longPollCall.read(
        "awf.task/long-poll",
        pollParams(request, pollTimeoutMs),
        tasks,
        signal,
        pollTimeoutMs,
      ),

    /** The same for the workers on streams. */
    workPoll: (
      definitions: WorkDefinitions,
      maxTasks: number,
      pollTimeoutMs: number,
      signal: AbortSignal,
    ): Promise<CallResult<Task[]>> =>
      workPollCall.read(
        "awf.task/long-poll",
        pollParams({ ...definitions, maxBatchSize: maxTasks }, pollTimeoutMs),
        tasks,
        signal,
        pollTimeoutMs,
      ),

    /** Begins an attempt. */
    start,

    /**
     * Begins an attempt. After a lost answer, or when Aidbox refuses it, the task itself
     * tells whether it has begun before.
     */
    async startSurely(attempt: Attempt): Promise<CallResult<Task>> {
      const result = await start(attempt);
      const isInDoubt = result.kind === "failed" && unclear.has(result.failure.reason);
      const found = isInDoubt ? await stateOf(attempt.id) : undefined;
      return found?.kind === "ok" &&
        found.value.execId === attempt.execId &&
        found.value.status === "in-progress"
        ? { kind: "ok", value: taskFromResource(found.value.resourceJson) }
        : result;
    },

    /** Says that an attempt is alive; tells when its lease at Aidbox ends. */
    heartbeat: (
      request: { [Key in "id" | "execId" | "message"]: HeartbeatTaskRequest[Key] },
      signal?: AbortSignal,
    ) => notify(request, heartbeatParams(request, notifications.heartbeat, request.message), signal),

    /** Tells how far an attempt is; a heartbeat, too. */
    progress: (
      attempt: Attempt,
      progress: { current: bigint; total: bigint | undefined; unit: string },
      signal?: AbortSignal,
    ) => notify(attempt, progressParams(attempt, notifications.progress, progress), signal),

    /** Sends an outcome that `prepareTaskOutcome` made. */
    async send(delivery: SentDelivery, signal?: AbortSignal): Promise<AttemptResult> {
      const { taskId: id, attempt: execId, target, body } = delivery;
      const settled = delivery.isInDoubt ? await settleDoubt({ id, execId }, target, signal) : undefined;
      if (settled !== undefined) {
        return settled;
      }
      const result = await rpc.send(body, timeoutMs, signal);
      if (result.kind === "accepted") {
        return acceptedFor(id, resource(result.result));
      }
      return result.kind === "rejected" ? explainRefusal(result, { id, execId }, signal) : result;
    },

    /** Reads the task that Aidbox answered an outcome with. */
    readAnswer: (answer: string): Task | undefined => (answer === "" ? undefined : taskFromResource(answer)),

    /** Creates a task under `id`. `params` is a JSON object as text. */
    createTask: (request: CreateTaskRequest, id: string, params: string, signal?: AbortSignal) =>
      call.change("awf.task/create-and-execute", createParams(request, id, params), task, signal),

    /** Tells how a task is, with its settings and its log where they are asked for. */
    getTask: (request: GetTaskRequest, signal?: AbortSignal) =>
      call.readKnown("awf.task/status", getTaskParams(request), taskWithLog, signal),

    /** Cancels a task. */
    async cancelTask(id: string, signal?: AbortSignal): Promise<CallResult<Task>> {
      const result = await call.change("awf.task/cancel", idParams(id), task, signal);
      return call.explained(result, { id }, signal);
    },

    /** Finds tasks. */
    listTasks: (request: ListTasksRequest, signal?: AbortSignal): Promise<CallResult<Task[]>> =>
      call.read("awf.task/list", listTasksParams(request), tasks, signal),

    /** Creates a workflow under `id`. `params` is a JSON object as text. */
    createWorkflow: (request: CreateWorkflowRequest, id: string, params: string, signal?: AbortSignal) =>
      call.change("awf.workflow/create-and-execute", createParams(request, id, params), workflow, signal),

    /** Tells how a workflow is, with its activities and decisions where they are asked for. */
    getWorkflow: (request: GetWorkflowRequest, signal?: AbortSignal) =>
      call.readKnown("awf.workflow/status", getWorkflowParams(request), workflowWithActivities, signal),

    /** Cancels a workflow and what it has begun. */
    async cancelWorkflow(id: string, signal?: AbortSignal): Promise<CallResult<Workflow>> {
      const result = await call.change("awf.workflow/cancel", idParams(id), workflow, signal);
      return call.explained(result, { id, statusMethod: "awf.workflow/status" }, signal);
    },

    /** Finds workflows. */
    listWorkflows: (request: ListWorkflowsRequest, signal?: AbortSignal): Promise<CallResult<Workflow[]>> =>
      call.read(
        "awf.workflow/list",
        listWorkflowsParams(request),
        (result) => resources(result)?.map(workflowFromResource),
        signal,
      ),
  };
}

// A start that was answered so may have been taken, now or before.
const unclear: ReadonlySet<ErrorReason> = new Set([
  ErrorReason.UPSTREAM_UNCERTAIN,
  ErrorReason.UPSTREAM_REJECTED,
]);

/** How an attempt stands, in Aidbox's words. */
interface AttemptState {
  execId: unknown;
  status: string;
  outcome: unknown;
  resourceJson: string;
}

const attemptState: Pick<AttemptState> = (result) => mapped(resource(result), stateOfResource);

function stateOfResource(resourceJson: string): AttemptState {
  const { execId, status, outcome } = JSON.parse(resourceJson) as Record<string, unknown>;
  return { execId, status: String(status), outcome, resourceJson };
}

// FACT: what a task's outcome is after each of the two calls.
const outcomeOf: Readonly<Record<string, string>> = {
  "awf.task/success": "succeeded",
  "awf.task/fail": "failed",
};

// Success is the task, as it is now. Anything else may be somebody else's answer.
function acceptedFor(id: string, resourceJson: string | undefined): AttemptResult {
  if (resourceJson !== undefined && (JSON.parse(resourceJson) as { id?: unknown }).id === id) {
    return { kind: "accepted", answer: resourceJson };
  }
  const failure = createFailure(
    ErrorReason.UPSTREAM_UNCERTAIN,
    "aidbox answered with a result that is not the task",
    { metadata: { upstream: "aidbox", http_status: "200" } },
  );
  return { kind: "inDoubt", failure };
}

function unsettled(failure: Failure): AttemptFailure {
  return {
    kind: "unconfirmed",
    failure: failureWithReason(failure, ErrorReason.UPSTREAM_UNCERTAIN),
  };
}

const task: Pick<Task> = (result) => mapped(resource(result), taskFromResource);

const tasks: Pick<Task[]> = (result) => resources(result)?.map(taskFromResource);

const workflow: Pick<Workflow> = (result) => mapped(resource(result), workflowFromResource);

const taskWithLog: Pick<{ task: Task; settingsJson: string; log: TaskLogEntry[] }> = (result) =>
  mapped(task(result), (found) => ({
    task: found,
    settingsJson: result.entries?.get("settings")?.text ?? "",
    log: texts(result, "log").map(logEntryFromResource),
  }));

const workflowWithActivities: Pick<{
  workflow: Workflow;
  activities: Activity[];
  decisions: Task[];
}> = (result) =>
  mapped(workflow(result), (found) => ({
    workflow: found,
    activities: texts(result, "activities").map(activityFromResource),
    decisions: texts(result, "decisions").map(taskFromResource),
  }));

function texts(result: JsonNode, key: string): string[] {
  return result.entries?.get(key)?.items?.map((item) => item.text) ?? [];
}

function mapped<From, To>(value: From | undefined, map: (value: From) => To): To | undefined {
  return value === undefined ? undefined : map(value);
}

// FACT: the sample is an ISO instant, the table says integer; both are taken.
function leaseOf(result: JsonNode): AttemptLease {
  const at = result.entries?.get("inProgressTimeoutAt");
  return { leaseExpireMs: at && timeMs(JSON.parse(at.text)) };
}
