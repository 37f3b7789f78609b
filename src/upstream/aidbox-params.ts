import type {
  CreateTaskRequest,
  CreateWorkflowRequest,
  GetTaskRequest,
  GetWorkflowRequest,
  ListTasksRequest,
  ListWorkflowsRequest,
  PollTasksRequest,
} from "../../gen/taskgate/v1/executor_pb.ts";
import { ListOrder } from "../../gen/taskgate/v1/executor_pb.ts";
import type { WorkDefinitions } from "../model/work-pool.ts";

// The parameters of Aidbox's RPCs as JSON text, with the exact spelling of each
// key (FACT): some are camelCase, some kebab-case, some end in a question mark.
// What is unset is left out, never null.

/** `awf.task/poll`; with `timeoutMs`, `awf.task/long-poll`. */
export function pollParams(
  request: WorkDefinitions & Pick<PollTasksRequest, "maxBatchSize">,
  timeoutMs?: number,
): string {
  return JSON.stringify({
    taskDefinitions: unlessEmpty(request.taskDefinitions),
    workflowDefinitions: unlessEmpty(request.workflowDefinitions),
    maxBatchSize: request.maxBatchSize || undefined,
    timeout: timeoutMs,
  });
}

/** `awf.task/start`. */
export function attemptParams(attempt: { id: string; execId: string }): string {
  return JSON.stringify({ id: attempt.id, execId: attempt.execId });
}

/** `awf.task/notify` for a heartbeat. */
export function heartbeatParams(
  attempt: { id: string; execId: string },
  notification: string,
  message: string,
): string {
  return JSON.stringify({
    id: attempt.id,
    execId: attempt.execId,
    notification,
    message: message || undefined,
  });
}

/** `awf.task/notify` for a progress. The counts are written in full. */
export function progressParams(
  attempt: { id: string; execId: string },
  notification: string,
  progress: { current: bigint; total: bigint | undefined; unit: string },
): string {
  return textObject([
    ["id", JSON.stringify(attempt.id)],
    ["execId", JSON.stringify(attempt.execId)],
    ["notification", JSON.stringify(notification)],
    ["progress-current", String(progress.current)],
    ["progress-total", progress.total === undefined ? undefined : String(progress.total)],
    ["progress-unit", progress.unit === "" ? undefined : JSON.stringify(progress.unit)],
  ]);
}

/** `awf.task/success`. `result` is JSON text. */
export function successParams(attempt: { id: string; execId: string }, result: string | undefined): string {
  return textObject([
    ["id", JSON.stringify(attempt.id)],
    ["execId", JSON.stringify(attempt.execId)],
    ["result", result],
  ]);
}

/**
 * `awf.task/fail`. `error` is JSON text. The official SDK sends it as `result`,
 * which does not fail the task (FACT).
 */
export function failParams(attempt: { id: string; execId: string }, error: string | undefined): string {
  return textObject([
    ["id", JSON.stringify(attempt.id)],
    ["execId", JSON.stringify(attempt.execId)],
    ["error", error],
  ]);
}

/** `awf.task/create-and-execute` and `awf.workflow/create-and-execute`. */
export function createParams(
  request: Pick<CreateTaskRequest | CreateWorkflowRequest, "definition" | "label" | "executeTime">,
  id: string,
  params: string,
): string {
  return textObject([
    ["id", JSON.stringify(id)],
    ["definition", JSON.stringify(request.definition)],
    ["params", params],
    ["label", request.label === "" ? undefined : JSON.stringify(request.label)],
    ["executeAt", request.executeTime === "" ? undefined : JSON.stringify(request.executeTime)],
  ]);
}

/** `awf.task/cancel`, `awf.workflow/cancel`, and a bare `status`. */
export function idParams(id: string): string {
  return JSON.stringify({ id });
}

/** `awf.task/status`. */
export function getTaskParams(request: GetTaskRequest): string {
  return JSON.stringify({
    id: request.id,
    "include-settings?": request.includeSettings || undefined,
    "include-log?": request.includeLog || undefined,
  });
}

/** `awf.workflow/status`. */
export function getWorkflowParams(request: GetWorkflowRequest): string {
  return JSON.stringify({
    id: request.id,
    "include-activities?": request.includeActivities || undefined,
    "include-decisions?": request.includeDecisions || undefined,
  });
}

/** `awf.task/list`. */
export function listTasksParams(request: ListTasksRequest): string {
  return listParams(
    {
      includeDefinitions: unlessEmpty(request.includeDefinitions),
      excludeDefinitions: unlessEmpty(request.excludeDefinitions),
      status: request.status || undefined,
      outcome: request.outcome || undefined,
      ilike: request.ilike || undefined,
    },
    request.order,
  );
}

/** `awf.workflow/list`. */
export function listWorkflowsParams(request: ListWorkflowsRequest): string {
  return listParams(
    {
      status: request.status || undefined,
      outcome: request.outcome || undefined,
      ilike: request.ilike || undefined,
    },
    request.order,
  );
}

const sorts: Record<ListOrder, object | undefined> = {
  [ListOrder.UNSPECIFIED]: undefined,
  [ListOrder.CREATE_TIME_ASC]: { createdAt: "asc" },
  [ListOrder.CREATE_TIME_DESC]: { createdAt: "desc" },
  [ListOrder.UPDATE_TIME_ASC]: { lastUpdated: "asc" },
  [ListOrder.UPDATE_TIME_DESC]: { lastUpdated: "desc" },
};

function listParams(filter: Record<string, unknown>, order: ListOrder): string {
  const isFiltered = Object.values(filter).some((value) => value !== undefined);
  return JSON.stringify({ filter: isFiltered ? filter : undefined, sort: sorts[order] });
}

function unlessEmpty<Item>(list: readonly Item[]): readonly Item[] | undefined {
  return list.length === 0 ? undefined : list;
}

function textObject(fields: readonly (readonly [key: string, json: string | undefined])[]): string {
  const pairs = fields.filter(([, json]) => json !== undefined).map(([key, json]) => `"${key}":${json}`);
  return `{${pairs.join(",")}}`;
}
