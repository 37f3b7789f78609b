import { decisionDefinition, readActions, type WorkflowAction } from "./aidbox-decisions.ts";
import { type Definitions, schemaProblem } from "./aidbox-definitions.ts";
import {
  notFound,
  type OutcomeReason,
  parseInstant,
  type Reference,
  type Reply,
  refuse,
  type Stamp,
  type TaskResource,
  type WorkflowResource,
} from "./aidbox-resource.ts";
import type { TaskRequest, Tasks } from "./aidbox-tasks.ts";
import { type Clock, runAt } from "./clock.ts";
import { type Random, uuid } from "./ids.ts";
import type { Json } from "./json.ts";

/** FACT: calls, statuses, events and actions. */
export interface Workflows {
  create(request: TaskRequest): Reply<WorkflowResource>;
  cancel(id: string): Reply<WorkflowResource>;
  get(id: string): WorkflowResource | undefined;
  /** The tasks and workflows that its decisions scheduled, in that order. */
  activities(id: string): (TaskResource | WorkflowResource)[];
  decisions(id: string): TaskResource[];
  /** In order of creation. */
  list(): WorkflowResource[];
  /** Why a task's result is no decision; undefined when it is one, or when the task is none. */
  decisionProblem(task: TaskResource, result: Json | undefined): string | undefined;
  /** To be called when any task is done. */
  taskDone(task: TaskResource): void;
  reset(): void;
}

export interface WorkflowsOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly stamp: Stamp;
  readonly tasks: Tasks;
  readonly definitions: Definitions;
}

const byExecutor: OutcomeReason = { type: "awf.workflow/failed-by-executor", message: "Failed by executor" };

interface WorkflowRecord {
  resource: WorkflowResource;
  readonly activities: Reference[];
  readonly decisions: string[];
  readonly labels: Set<string>;
  cancelTimer: () => void;
}

export function createWorkflows({ clock, random, stamp, tasks, definitions }: WorkflowsOptions): Workflows {
  const records = new Map<string, WorkflowRecord>();

  function change(record: WorkflowRecord, set: Partial<WorkflowResource>): void {
    record.resource = { ...record.resource, ...set, meta: stamp(record.resource.meta) };
  }

  function create(request: TaskRequest, requester?: Reference): Reply<WorkflowResource> {
    const { id = uuid(random), params, label, executeAt } = request;
    if (definitions.find(request.definition) === undefined) {
      return refuse("awf.workflow/unknown-definition", `Unknown definition: ${request.definition}`);
    }
    if (records.has(id)) {
      return refuse("awf.workflow/already-exists", `Workflow id:'${id}' already exists.`);
    }
    const record: WorkflowRecord = {
      resource: {
        resourceType: "AidboxWorkflow",
        id,
        definition: request.definition,
        params,
        status: "created",
        meta: stamp(),
        ...(label !== undefined && { label }),
        ...(executeAt !== undefined && { executeAt }),
        ...(requester !== undefined && { requester }),
      },
      activities: [],
      decisions: [],
      labels: new Set(),
      cancelTimer: () => {},
    };
    records.set(id, record);
    const executeAtMs = parseInstant(executeAt ?? "") ?? 0;
    // INFERENCE: a workflow whose time has not come stays `created`.
    if (executeAtMs > clock.now()) {
      record.cancelTimer = runAt(clock, executeAtMs, () => begin(record));
    } else {
      begin(record);
    }
    return { value: record.resource };
  }

  function begin(record: WorkflowRecord): void {
    change(record, { status: "in-progress" });
    decide(record, { event: "awf.workflow.event/workflow-init" });
  }

  /** Asks for a decision. UNKNOWN: whether the real one asks for several at a time; this one does. */
  function decide(record: WorkflowRecord, params: { event: string; [key: string]: string }): void {
    const { id, definition } = record.resource;
    const decision = tasks.create(
      { id: uuid(random), definition: decisionDefinition, params },
      { requester: { id, resourceType: "AidboxWorkflow" }, workflowDefinition: definition },
    );
    if (decision.value !== undefined) {
      record.decisions.push(decision.value.id);
    }
  }

  function finish(record: WorkflowRecord, set: Partial<WorkflowResource>): void {
    record.cancelTimer();
    change(record, { ...set, status: "done" });
    // UNKNOWN: what becomes of open decisions. Nothing is left to decide, so they are canceled.
    for (const id of record.decisions) {
      tasks.cancel(id);
    }
    const { id, requester } = record.resource;
    const parent = records.get(requester?.id ?? "");
    if (parent?.resource.status !== "in-progress") {
      return;
    }
    decide(parent, { event: "awf.workflow.event/workflow-completed", "workflow-id": id });
  }

  function apply(record: WorkflowRecord, action: WorkflowAction): void {
    switch (action.action) {
      case "schedule-task":
      case "schedule-workflow":
        schedule(record, action.action, action.request);
        break;
      case "complete-workflow":
        finish(record, {
          outcome: "succeeded",
          ...(action.result !== undefined && { result: action.result }),
        });
        break;
      case "fail":
        fail(record, byExecutor, action.error);
        break;
      case "unknown-error":
        fail(record, { type: "awf.executor/unknown-error", message: "Unknown error" });
    }
  }

  function schedule(
    record: WorkflowRecord,
    kind: "schedule-task" | "schedule-workflow",
    request: TaskRequest,
  ): void {
    const requester: Reference = { id: record.resource.id, resourceType: "AidboxWorkflow" };
    const { value } =
      kind === "schedule-task" ? tasks.create(request, { requester }) : create(request, requester);
    if (request.label !== undefined) {
      record.labels.add(request.label);
    }
    if (value !== undefined) {
      record.activities.push({ id: value.id, resourceType: value.resourceType });
    }
  }

  function fail(record: WorkflowRecord, outcomeReason: OutcomeReason, error?: Json): void {
    finish(record, { outcome: "failed", outcomeReason, ...(error !== undefined && { error }) });
  }

  function cancel(id: string): Reply<WorkflowResource> {
    const record = records.get(id);
    if (record === undefined) {
      return notFound();
    }
    if (record.resource.status === "done") {
      const message = `Workflow id:'${id}' has already been done. Couldn't cancel it.`;
      return refuse("workflow-has-been-done", message);
    }
    // First itself: its activities then have nobody to tell that they are done.
    finish(record, { outcome: "canceled" });
    for (const activity of record.activities) {
      if (activity.resourceType === "AidboxTask") {
        tasks.cancel(activity.id);
      } else {
        cancel(activity.id);
      }
    }
    return { value: record.resource };
  }

  function requesterOf(task: TaskResource): WorkflowRecord | undefined {
    return records.get(task.requester?.id ?? "");
  }

  return {
    create: (request) => create(request),
    cancel,
    get: (id) => records.get(id)?.resource,
    activities: (id) =>
      (records.get(id)?.activities ?? []).flatMap(({ resourceType, id: each }) => {
        const found = resourceType === "AidboxTask" ? tasks.get(each) : records.get(each);
        return found?.resource ?? [];
      }),
    decisions: (id) => records.get(id)?.decisions.flatMap((each) => tasks.get(each)?.resource ?? []) ?? [],
    list: () => [...records.values()].map(({ resource }) => resource),
    decisionProblem(task, result) {
      const record = requesterOf(task);
      if (task.definition !== decisionDefinition || record === undefined) {
        return undefined;
      }
      const actions = readActions(result);
      return typeof actions === "string" ? actions : conflict(record, actions);
    },
    taskDone(task) {
      const record = requesterOf(task);
      if (record?.resource.status !== "in-progress") {
        return;
      }
      if (task.definition !== decisionDefinition) {
        decide(record, { event: "awf.workflow.event/task-completed", "task-id": task.id });
        return;
      }
      // UNKNOWN: what a decision that failed for good does to its workflow.
      if (task.outcome === "failed") {
        fail(record, byExecutor);
      }
      const actions = task.outcome === "succeeded" ? readActions(task.result) : [];
      if (typeof actions === "string") {
        return;
      }
      for (const action of actions) {
        if (record.resource.status === "in-progress") {
          apply(record, action);
        }
      }
    },
    reset() {
      for (const record of records.values()) {
        record.cancelTimer();
      }
      records.clear();
    },
  };

  /** FACT: labels are unique in a workflow. INFERENCE: a decision is refused whole, before any of it takes effect. */
  function conflict(record: WorkflowRecord, actions: readonly WorkflowAction[]): string | undefined {
    const labels = new Set(record.labels);
    const ids = new Set<string>();
    for (const action of actions) {
      if (!("request" in action)) {
        continue;
      }
      const { label, id, params } = action.request;
      const definition = definitions.find(action.request.definition);
      if (definition === undefined) {
        return `unknown definition: ${action.request.definition}`;
      }
      const problem = schemaProblem(definition, "params", params);
      if (problem !== undefined) {
        return problem;
      }
      if (label !== undefined && labels.has(label)) {
        return `label is not unique in the workflow: ${label}`;
      }
      if (id !== undefined && (ids.has(id) || tasks.get(id) || records.has(id))) {
        return `id is taken: ${id}`;
      }
      if (label !== undefined) {
        labels.add(label);
      }
      if (id !== undefined) {
        ids.add(id);
      }
    }
    return undefined;
  }
}
