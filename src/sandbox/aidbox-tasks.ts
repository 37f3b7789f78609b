import { type Definition, type Definitions, schemaProblem } from "./aidbox-definitions.ts";
import {
  notFound,
  parseInstant,
  type Reference,
  type Reply,
  type RpcError,
  refuse,
  type TaskResource,
} from "./aidbox-resource.ts";
import { createTaskLifecycle, type LifecycleOptions, type TaskLifecycle } from "./aidbox-task-lifecycle.ts";
import {
  concurrencyGroup,
  countCall,
  decisionQueue,
  type TaskRecord,
  taskQueue,
} from "./aidbox-task-record.ts";
import { uuid } from "./ids.ts";
import type { Json, JsonObject } from "./json.ts";

export interface TaskRequest {
  readonly definition: string;
  readonly params: Json;
  readonly id?: string;
  readonly label?: string;
  readonly executeAt?: string;
}

/** What only the sandbox itself says of a new task: for whom it is, and of which workflow it is a decision. */
export interface TaskOrigin {
  readonly requester?: Reference;
  readonly workflowDefinition?: string;
}

/** The calls of the task service, each refused when its task is not in the status that it starts from. */
export interface Tasks extends Pick<TaskLifecycle, "poll" | "longPoll"> {
  create(request: TaskRequest, origin?: TaskOrigin): Reply<TaskResource>;
  start(id: string, execId: string): Reply<TaskResource>;
  /** Prolongs the in-progress timeout, and returns its new end in epoch milliseconds. */
  notify(id: string, execId: string, notification: JsonObject): Reply<number>;
  /** A result that does not conform to the definition leaves the task in progress. */
  success(id: string, execId: string, result: Json | undefined): Reply<TaskResource>;
  fail(id: string, execId: string, error: Json | undefined): Reply<TaskResource>;
  cancel(id: string): Reply<TaskResource>;
  get(id: string): TaskRecord | undefined;
  /** In order of creation. */
  list(): TaskRecord[];
  /** To be called when a definition may have another concurrency limit. */
  definitionChanged(definition: Definition): void;
  reset(): void;
}

export interface TasksOptions extends LifecycleOptions {
  readonly definitions: Definitions;
  /** Why a result is no decision, for a decision task. */
  decisionProblem(task: TaskResource, result: Json | undefined): string | undefined;
}

export function createTasks(options: TasksOptions): Tasks {
  const { random, stamp, definitions, decisionProblem } = options;
  const lifecycle = createTaskLifecycle(options);
  const records = new Map<string, TaskRecord>();

  /** Runs a call about an execution, if it is the current one and in the right status. */
  function call<T>(
    name: string,
    [id, execId]: readonly [string, string],
    status: TaskResource["status"],
    run: (record: TaskRecord) => Reply<T>,
  ): Reply<T> {
    const record = records.get(id);
    if (record === undefined) {
      return notFound();
    }
    const reply = refuseCall(record.resource, execId, status) ?? run(record);
    countCall(record, execId, name, reply.error === undefined);
    return reply;
  }

  function newRecord(
    id: string,
    request: TaskRequest,
    definition: Definition,
    origin: TaskOrigin,
  ): TaskRecord {
    const { params, label, executeAt } = request;
    const { requester, workflowDefinition } = origin;
    return {
      resource: {
        resourceType: "AidboxTask",
        id,
        definition: definition.name,
        params,
        status: "created",
        meta: stamp(),
        ...(label !== undefined && { label }),
        ...(executeAt !== undefined && { executeAt }),
        ...(requester !== undefined && { requester }),
        ...(workflowDefinition !== undefined && { "workflow-definition": workflowDefinition }),
        ...(records.size % 4 === 3 && { pool: "awf.executor/sandbox-pool" }),
      },
      definition,
      queue:
        workflowDefinition === undefined ? taskQueue(definition.name) : decisionQueue(workflowDefinition),
      group: concurrencyGroup(definition, params),
      order: 0,
      isOut: false,
      log: [],
      executions: Object.create(null),
      cancelTimer: () => {},
    };
  }

  return {
    create(request, origin = {}) {
      const { id = uuid(random), executeAt = "" } = request;
      const definition = definitions.find(request.definition);
      if (definition === undefined) {
        return refuse("awf.task/unknown-definition", `Unknown definition: ${request.definition}`);
      }
      if (records.has(id)) {
        return refuse("awf.task/already-exists", `Task id:'${id}' already exists.`);
      }
      const problem = schemaProblem(definition, "params", request.params);
      if (problem !== undefined) {
        return refuse("awf.task/invalid-params", problem);
      }
      const record = newRecord(id, request, definition, origin);
      records.set(id, record);
      return { value: lifecycle.admit(record, parseInstant(executeAt) ?? 0) };
    },
    poll: lifecycle.poll,
    longPoll: lifecycle.longPoll,
    start: (...ids) => call("start", ids, "requested", (record) => ({ value: lifecycle.start(record) })),
    notify: (id, execId, notification) =>
      call("notify", [id, execId], "in-progress", (record) => {
        lifecycle.log(record, { action: "awf.task/notify", actionParams: notification, set: {} });
        return { value: lifecycle.watch(record) };
      }),
    success: (id, execId, result) =>
      call("success", [id, execId], "in-progress", (record) => {
        const problem =
          schemaProblem(record.definition, "result", result) ?? decisionProblem(record.resource, result);
        if (problem !== undefined) {
          return refuse("awf.task/invalid-result", problem);
        }
        const set = { outcome: "succeeded", ...(result !== undefined && { result }) } as const;
        return { value: lifecycle.finish(record, { action: "awf.task/success", set }) };
      }),
    fail: (id, execId, error) =>
      call("fail", [id, execId], "in-progress", (record) => {
        const problem = schemaProblem(record.definition, "error", error);
        if (problem !== undefined) {
          return refuse("awf.task/invalid-error", problem);
        }
        const reason = { type: "awf.task/failed-by-executor", message: "Failed by executor" };
        return { value: lifecycle.fail(record, reason, error === undefined ? {} : { error }) };
      }),
    cancel(id) {
      const record = records.get(id);
      if (record === undefined) {
        return notFound();
      }
      if (record.resource.status === "done") {
        // UNKNOWN; as the workflow service says it.
        return refuse("task-has-been-done", `Task id:'${id}' has already been done. Couldn't cancel it.`);
      }
      return { value: lifecycle.finish(record, { action: "awf.task/cancel", set: { outcome: "canceled" } }) };
    },
    get: (id) => records.get(id),
    list: () => [...records.values()],
    definitionChanged: ({ name }) => lifecycle.limitChanged(taskQueue(name)),
    reset() {
      lifecycle.reset();
      for (const record of records.values()) {
        record.cancelTimer();
      }
      records.clear();
    },
  };
}

// UNKNOWN: status, type and message of each of these, and that a repeated call is refused at all.
function refuseCall(
  task: TaskResource,
  execId: string,
  status: TaskResource["status"],
): { error: RpcError } | undefined {
  if (task.execId !== execId) {
    return refuse("awf.task/invalid-exec-id", `Task id:'${task.id}' has another execution than '${execId}'.`);
  }
  if (task.status === status) {
    return undefined;
  }
  return refuse("awf.task/invalid-status", `Task id:'${task.id}' is '${task.status}', not '${status}'.`);
}
