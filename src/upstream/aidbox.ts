import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import type {
  CreateTaskRequest,
  CreateWorkflowRequest,
  GetTaskRequest,
  GetWorkflowRequest,
  HeartbeatTaskRequest,
  ListTasksRequest,
  ListWorkflowsRequest,
  LongPollTasksRequest,
  PollTasksRequest,
} from "../../gen/taskgate/v1/executor_pb.ts";
import type { Failure } from "../../gen/taskgate/v1/receipt_pb.ts";
import type { AttemptResult } from "../model/attempt-result.ts";
import type { Attempt, AttemptLease, CallResult, TaskOutcome } from "../model/call-result.ts";
import type { UpstreamCapabilities } from "../model/capabilities.ts";
import type { NewDelivery } from "../model/delivery.ts";
import { createFailure, failureWithReason } from "../model/failure.ts";
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
import { type AidboxResult, type AidboxRpc, aidboxBody } from "./aidbox-rpc.ts";
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
  /** How long one call may take; a long-poll adds it to its own timeout. */
  timeoutMs: number;
  /**
   * How `awf.task/notify` names what it notifies of. Aidbox's table says `heartbeat`, its
   * sample `awf.task/heartbeat`; no source shows the one for progress.
   */
  notifications: { heartbeat: string; progress: string };
}

/** A resource of Aidbox, as JSON text exactly as it was received. */
export type ResourceText = string;

/** Aidbox, as the gateway calls it. Resources are passed on as JSON text. */
export type Aidbox = ReturnType<typeof createAidbox>;

/** Says how an outcome leaves for Aidbox. A retry of the task has another key. */
export function prepareTaskOutcome(outcome: TaskOutcome): NewDelivery {
  const method = `awf.task/${outcome.verb}`;
  const params =
    outcome.verb === "success" ? successParams(outcome, outcome.json) : failParams(outcome, outcome.json);
  return {
    upstream: "aidbox",
    key: `${outcome.id}/${outcome.execId}`,
    target: method,
    body: aidboxBody(method, params),
  };
}

/** Creates the calls to Aidbox on top of its RPC endpoint. */
export function createAidbox(options: AidboxOptions) {
  const { rpc, timeoutMs, notifications } = options;

  async function call(
    method: string,
    params: string,
    signal: AbortSignal | undefined,
    callTimeoutMs = timeoutMs,
  ): Promise<AidboxResult> {
    return rpc.send(aidboxBody(method, params), callTimeoutMs, signal);
  }

  // A read that failed is just unavailable: nothing can have been changed. A poll
  // counts as a read, because Aidbox takes back what it handed to nobody.
  async function read<Value>(
    result: Promise<AidboxResult>,
    pick: (result: JsonNode) => Value | undefined,
  ): Promise<CallResult<Value>> {
    const settled = picked(await result, pick);
    return settled.kind === "failed" && settled.failure.reason === ErrorReason.UPSTREAM_UNCERTAIN
      ? {
          kind: "failed",
          failure: failureWithReason(settled.failure, ErrorReason.UPSTREAM_UNAVAILABLE),
        }
      : settled;
  }

  // What Aidbox answers to a stale `execId` or a task in the wrong state is not
  // published, so the reason of a refusal is read from the task itself.
  async function explained<Value>(
    result: CallResult<Value>,
    attempt: { id: string; execId?: string },
    signal: AbortSignal | undefined,
    statusMethod = "awf.task/status",
  ): Promise<CallResult<Value>> {
    if (result.kind === "ok" || result.failure.reason !== ErrorReason.UPSTREAM_REJECTED) {
      return result;
    }
    const found = await read(call(statusMethod, idParams(attempt.id), signal), resource);
    const reason =
      found.kind === "ok" ? reasonOfState(found.value, attempt.execId) : unknownReason(found.failure);
    return reason === undefined
      ? result
      : { kind: "failed", failure: failureWithReason(result.failure, reason) };
  }

  async function get<Value>(
    result: Promise<AidboxResult>,
    pick: (result: JsonNode) => Value | undefined,
  ): Promise<CallResult<Value>> {
    const settled = await read(result, pick);
    const reason = settled.kind === "failed" ? unknownReason(settled.failure) : undefined;
    return settled.kind === "failed" && reason !== undefined
      ? { kind: "failed", failure: failureWithReason(settled.failure, reason) }
      : settled;
  }

  async function notify(attempt: Attempt, params: string, signal?: AbortSignal) {
    const result = await read(call("awf.task/notify", params, signal), leaseOf);
    return explained(result, attempt, signal);
  }

  return {
    /** Takes tasks that are ready: `requested` from now on. */
    poll: (request: PollTasksRequest, signal?: AbortSignal) =>
      read(call("awf.task/poll", pollParams(request), signal), resources),

    /** Takes tasks that are ready and lets Aidbox wait up to `pollTimeoutMs` for one. */
    longPoll: (request: Omit<LongPollTasksRequest, "timeout">, pollTimeoutMs: number, signal?: AbortSignal) =>
      read(
        call("awf.task/long-poll", pollParams(request, pollTimeoutMs), signal, pollTimeoutMs + timeoutMs),
        resources,
      ),

    /** Begins an attempt. */
    async start(attempt: Attempt, signal?: AbortSignal): Promise<CallResult<ResourceText>> {
      const result = picked(await call("awf.task/start", attemptParams(attempt), signal), resource);
      return explained(result, attempt, signal);
    },

    /** Says that an attempt is alive; tells when its lease at Aidbox ends. */
    heartbeat: (request: Pick<HeartbeatTaskRequest, "id" | "execId" | "message">, signal?: AbortSignal) =>
      notify(request, heartbeatParams(request, notifications.heartbeat, request.message), signal),

    /** Tells how far an attempt is; a heartbeat, too. */
    progress: (
      attempt: Attempt,
      progress: { current: bigint; total: bigint | undefined; unit: string },
      signal?: AbortSignal,
    ) => notify(attempt, progressParams(attempt, notifications.progress, progress), signal),

    /** Sends an outcome that `prepareTaskOutcome` made. */
    async send(delivery: { body: string }, signal?: AbortSignal): Promise<AttemptResult> {
      const result = await rpc.send(delivery.body, timeoutMs, signal);
      return result.kind === "accepted"
        ? { kind: "accepted", answer: resource(result.result) ?? "" }
        : result;
    },

    /** Creates a task under `id`. `params` is a JSON object as text. */
    async createTask(request: CreateTaskRequest, id: string, params: string, signal?: AbortSignal) {
      return picked(
        await call("awf.task/create-and-execute", createParams(request, id, params), signal),
        resource,
      );
    },

    /** Tells how a task is, with its settings and its log where they are asked for. */
    getTask: (request: GetTaskRequest, signal?: AbortSignal) =>
      get(call("awf.task/status", getTaskParams(request), signal), (result) => {
        const task = resource(result);
        return task === undefined
          ? undefined
          : { task, settings: result.entries?.get("settings")?.text, log: texts(result, "log") };
      }),

    /** Cancels a task. */
    async cancelTask(id: string, signal?: AbortSignal): Promise<CallResult<ResourceText>> {
      const result = picked(await call("awf.task/cancel", idParams(id), signal), resource);
      return explained(result, { id }, signal);
    },

    /** Finds tasks. */
    listTasks: (request: ListTasksRequest, signal?: AbortSignal) =>
      read(call("awf.task/list", listTasksParams(request), signal), resources),

    /** Creates a workflow under `id`. `params` is a JSON object as text. */
    async createWorkflow(request: CreateWorkflowRequest, id: string, params: string, signal?: AbortSignal) {
      return picked(
        await call("awf.workflow/create-and-execute", createParams(request, id, params), signal),
        resource,
      );
    },

    /** Tells how a workflow is, with its activities and decisions where they are asked for. */
    getWorkflow: (request: GetWorkflowRequest, signal?: AbortSignal) =>
      get(call("awf.workflow/status", getWorkflowParams(request), signal), (result) => {
        const workflow = resource(result);
        return workflow === undefined
          ? undefined
          : {
              workflow,
              activities: texts(result, "activities"),
              decisions: texts(result, "decisions"),
            };
      }),

    /** Cancels a workflow and what it has begun. */
    async cancelWorkflow(id: string, signal?: AbortSignal): Promise<CallResult<ResourceText>> {
      const result = picked(await call("awf.workflow/cancel", idParams(id), signal), resource);
      return explained(result, { id }, signal, "awf.workflow/status");
    },

    /** Finds workflows. */
    listWorkflows: (request: ListWorkflowsRequest, signal?: AbortSignal) =>
      read(call("awf.workflow/list", listWorkflowsParams(request), signal), resources),
  };
}

function picked<Value>(
  result: AidboxResult,
  pick: (result: JsonNode) => Value | undefined,
): CallResult<Value> {
  if (result.kind !== "accepted") {
    return { kind: "failed", failure: result.failure };
  }
  const value = pick(result.result);
  return value === undefined
    ? {
        kind: "failed",
        failure: createFailure(
          ErrorReason.UPSTREAM_UNCERTAIN,
          "aidbox answered with a result of an unknown form",
          { metadata: { upstream: "aidbox" } },
        ),
      }
    : { kind: "ok", value };
}

function resource(result: JsonNode): ResourceText | undefined {
  const node = result.entries?.get("resource");
  return node?.entries === undefined ? undefined : node.text;
}

function resources(result: JsonNode): ResourceText[] | undefined {
  return result.entries?.get("resources")?.items?.map((item) => item.text);
}

function texts(result: JsonNode, key: string): ResourceText[] {
  return result.entries?.get(key)?.items?.map((item) => item.text) ?? [];
}

// The last instant that a google.protobuf.Timestamp can hold.
const maxInstantMs = Date.UTC(9999, 11, 31, 23, 59, 59, 999);

// FACT: the sample is an ISO instant, the table says integer; both are taken.
function leaseOf(result: JsonNode): AttemptLease {
  const at = result.entries?.get("inProgressTimeoutAt");
  const value: unknown = at === undefined ? undefined : JSON.parse(at.text);
  const ms = typeof value === "string" ? Date.parse(value) : value;
  const isInstant = typeof ms === "number" && ms >= 0 && ms <= maxInstantMs;
  return { leaseExpireMs: isInstant ? ms : undefined };
}

function reasonOfState(task: ResourceText, execId: string | undefined): ErrorReason | undefined {
  const state = JSON.parse(task) as { status?: unknown; outcome?: unknown; execId?: unknown };
  if (state.status === "done") {
    return state.outcome === "canceled" ? ErrorReason.TASK_CANCELLED : ErrorReason.TASK_FINISHED;
  }
  if (execId === undefined) {
    return undefined;
  }
  if (state.status !== "requested" && state.status !== "in-progress") {
    return ErrorReason.LEASE_EXPIRED;
  }
  return state.execId === execId ? undefined : ErrorReason.LEASE_SUPERSEDED;
}

// INFERENCE: Aidbox's other RPCs answer "Resource not found" with 422.
function unknownReason(failure: Failure): ErrorReason | undefined {
  return failure.reason === ErrorReason.UPSTREAM_REJECTED &&
    /not[ -]found/i.test(`${failure.metadata.upstream_type ?? ""} ${failure.message}`)
    ? ErrorReason.TASK_UNKNOWN
    : undefined;
}
