import type { HandlerContext } from "@connectrpc/connect";
import type { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import type {
  Activity,
  CreateTaskRequest,
  CreateWorkflowRequest,
  GetTaskRequest,
  GetWorkflowRequest,
  ListTasksRequest,
  ListWorkflowsRequest,
  LongPollTasksRequest,
  PollTasksRequest,
  Task,
  TaskLogEntry,
  Workflow,
} from "../../gen/taskgate/v1/executor_pb.ts";
import type { Attempt, CallResult, TaskOutcome } from "../model/call-result.ts";
import type { UpstreamCapabilities } from "../model/capabilities.ts";
import { drainingFailure } from "../model/failure.ts";
import type { LeasedTask } from "../model/lease.ts";
import type { Submission, SubmitOptions } from "../model/submission.ts";
import type { TaskBeats, WorkPool } from "../model/work-pool.ts";
import { errorFromFailure, errorOfEndedCall, upstreamNotConfigured } from "./errors.ts";
import type { StreamDeps } from "./stream-deps.ts";

/** The calls to Aidbox that the service needs. */
export interface ExecutorUpstream {
  poll(request: PollTasksRequest, signal: AbortSignal): Promise<CallResult<Task[]>>;
  longPoll(
    request: LongPollTasksRequest,
    pollTimeoutMs: number,
    signal: AbortSignal,
  ): Promise<CallResult<Task[]>>;
  /** Reads the task out of a submission's answer. */
  readAnswer(answer: string): Task | undefined;
  start(attempt: Attempt, signal: AbortSignal): Promise<CallResult<Task>>;
  createTask(
    request: CreateTaskRequest,
    id: string,
    params: string,
    signal: AbortSignal,
  ): Promise<CallResult<Task>>;
  getTask(
    request: GetTaskRequest,
    signal: AbortSignal,
  ): Promise<CallResult<{ task: Task; settingsJson: string; log: TaskLogEntry[] }>>;
  cancelTask(id: string, signal: AbortSignal): Promise<CallResult<Task>>;
  listTasks(request: ListTasksRequest, signal: AbortSignal): Promise<CallResult<Task[]>>;
  createWorkflow(
    request: CreateWorkflowRequest,
    id: string,
    params: string,
    signal: AbortSignal,
  ): Promise<CallResult<Workflow>>;
  getWorkflow(
    request: GetWorkflowRequest,
    signal: AbortSignal,
  ): Promise<CallResult<{ workflow: Workflow; activities: Activity[]; decisions: Task[] }>>;
  cancelWorkflow(id: string, signal: AbortSignal): Promise<CallResult<Workflow>>;
  listWorkflows(request: ListWorkflowsRequest, signal: AbortSignal): Promise<CallResult<Workflow[]>>;
}

/** What joins Aidbox with the workers on streams and with leases. */
export interface ExecutorWork {
  pool: WorkPool;
  beats: TaskBeats;
  /** Whether anybody here holds a task. */
  hasHolders(): boolean;
  /** Aidbox has said that a task is over. */
  onTaskOver(taskId: string, cause: ErrorReason): Promise<void>;
}

export interface ExecutorDeps extends StreamDeps {
  /** Undefined: there is no Aidbox. */
  upstream: (ExecutorUpstream & ExecutorWork) | undefined;
  /** The attempt as a task that is leased. */
  taskOf: (attempt: Attempt) => LeasedTask;
  capabilities: UpstreamCapabilities;
  /** No new work is taken. */
  isDraining: () => boolean;
  /** Takes an outcome towards Aidbox. */
  report: (outcome: TaskOutcome, options: SubmitOptions) => Promise<Submission>;
  /** A random UUID. */
  randomId: () => string;
}

/** Throws DRAINING where no new work is taken. */
export function assertNotDraining({ isDraining }: Pick<ExecutorDeps, "isDraining">): void {
  if (isDraining()) {
    throw errorFromFailure(drainingFailure());
  }
}

/** Returns the upstream, or throws UPSTREAM_NOT_CONFIGURED. */
export function requireAidbox<Upstream>(upstream: Upstream | undefined): Upstream {
  if (upstream === undefined) {
    throw upstreamNotConfigured("aidbox", "TASKGATE_AIDBOX_URL");
  }
  return upstream;
}

/**
 * Returns a result's value, or throws its failure with `metadata` added, which
 * names what to ask for after a doubt.
 */
export function unwrap<Value>(
  result: CallResult<Value>,
  context: HandlerContext,
  metadata: Record<string, string> = {},
): Value {
  if (result.kind === "ok") {
    return result.value;
  }
  const failure = { ...result.failure, metadata: { ...result.failure.metadata, ...metadata } };
  throw errorOfEndedCall(failure, context.signal);
}
