import type { HandlerContext } from "@connectrpc/connect";
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
import type { Attempt, AttemptLease, CallResult, TaskOutcome } from "../model/call-result.ts";
import type { Limits } from "../model/limits.ts";
import type { Submission, SubmitOptions } from "../model/submission.ts";
import { errorOfEndedCall, upstreamNotConfigured } from "./errors.ts";

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
  heartbeat(attempt: Attempt & { message: string }, signal: AbortSignal): Promise<CallResult<AttemptLease>>;
  progress(
    attempt: Attempt,
    progress: { current: bigint; total: bigint | undefined; unit: string },
    signal: AbortSignal,
  ): Promise<CallResult<AttemptLease>>;
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

export interface ExecutorDeps {
  /** Undefined: there is no Aidbox. */
  upstream: ExecutorUpstream | undefined;
  /** Takes an outcome towards Aidbox. */
  report: (outcome: TaskOutcome, options: SubmitOptions) => Promise<Submission>;
  limits: Limits;
  /** How often a worker should beat. */
  heartbeatIntervalMs: number;
  /** The wall clock. */
  now: () => number;
  /** A random UUID. */
  randomId: () => string;
}

/** Returns the upstream, or throws UPSTREAM_NOT_CONFIGURED. */
export function requireAidbox(upstream: ExecutorUpstream | undefined): ExecutorUpstream {
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
