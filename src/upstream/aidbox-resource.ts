import { create, fromJson, type JsonValue, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs, type Value, ValueSchema } from "@bufbuild/protobuf/wkt";
import {
  type Activity,
  ActivitySchema,
  type Decision,
  DecisionSchema,
  type Task,
  type TaskLogEntry,
  TaskLogEntrySchema,
  TaskSchema,
  type Workflow,
  WorkflowSchema,
} from "../../gen/taskgate/v1/executor_pb.ts";

// A resource of Aidbox: its fields are untyped, unknown ones must survive, and
// the words for status, outcome and event are passed on as they are.
type Resource = Record<string, JsonValue | undefined>;

/** Reads an AidboxTask, JSON text as received, into the contract's message. */
export function taskFromResource(resourceJson: string): Task {
  const resource = parseResource(resourceJson);
  const leaseExpireMs = timeMs(resource.inProgressTimeoutAt);
  const task: MessageInitShape<typeof TaskSchema> = {
    ...activityFields(resource, resourceJson),
    execId: text(resource.execId),
    retryCount: integer(resource.retryCount),
  };
  if (leaseExpireMs !== undefined) {
    task.leaseExpireTime = timestampFromMs(leaseExpireMs);
  }
  const decision = decisionFromResource(resource);
  if (decision !== undefined) {
    task.decision = decision;
  }
  return create(TaskSchema, task);
}

/** Reads an AidboxWorkflow, JSON text as received, into the contract's message. */
export function workflowFromResource(resourceJson: string): Workflow {
  return create(WorkflowSchema, activityFields(parseResource(resourceJson), resourceJson));
}

/** Reads what a workflow has begun, JSON text as received, into the contract's message. */
export function activityFromResource(resourceJson: string): Activity {
  const isWorkflow = parseResource(resourceJson).resourceType === "AidboxWorkflow";
  return create(ActivitySchema, {
    activity: isWorkflow
      ? { case: "workflow", value: workflowFromResource(resourceJson) }
      : { case: "task", value: taskFromResource(resourceJson) },
  });
}

/** Reads an AidboxTaskLog, JSON text as received, into the contract's message. */
export function logEntryFromResource(resourceJson: string): TaskLogEntry {
  const resource = parseResource(resourceJson);
  return create(TaskLogEntrySchema, {
    action: text(resource.action),
    statusBefore: text(resource["status-before"]),
    statusAfter: text(resource["status-after"]),
    resourceJson,
    ...optional("actionParams", resource["action-params"]),
  });
}

function activityFields(resource: Resource, resourceJson: string) {
  return {
    id: text(resource.id),
    definition: text(resource.definition),
    status: text(resource.status),
    outcome: text(resource.outcome),
    label: text(resource.label),
    executeTime: text(resource.executeAt),
    resourceJson,
    ...optional("outcomeReason", resource.outcomeReason),
    ...optional("params", resource.params),
    ...optional("result", resource.result),
    ...optional("error", resource.error),
  };
}

// FACT: a decision task has the definition `awf.workflow/decision-task`, names its
// workflow as the requester, and carries the event in its parameters.
function decisionFromResource(resource: Resource): Decision | undefined {
  if (resource.definition !== "awf.workflow/decision-task") {
    return undefined;
  }
  const params = object(resource.params);
  return create(DecisionSchema, {
    workflowId: text(object(resource.requester).id),
    workflowDefinition: text(resource["workflow-definition"]),
    event: text(params.event),
    taskId: text(params["task-id"]),
    childWorkflowId: text(params["workflow-id"]),
  });
}

function parseResource(resourceJson: string): Resource {
  return object(JSON.parse(resourceJson));
}

// What does not fit a `google.protobuf.Value` is left out: it is in the resource's
// text, and one such task must not make a whole answer unreadable.
function optional<Key extends string>(
  key: Key,
  json: JsonValue | undefined,
): { [K in Key]: Value } | Record<string, never> {
  if (json === undefined || json === null || !fitsValue(json, maxValueDepth)) {
    return {};
  }
  return { [key]: fromJson(ValueSchema, json) } as { [K in Key]: Value };
}

// protobuf-es and other libraries read at most a hundred nested messages, and each
// level of a Value is two or three of them.
const maxValueDepth = 30;

function fitsValue(json: JsonValue, depth: number): boolean {
  if (typeof json === "number") {
    return Number.isFinite(json);
  }
  if (typeof json !== "object" || json === null) {
    return true;
  }
  return depth > 0 && Object.values(json).every((item) => fitsValue(item, depth - 1));
}

function object(json: JsonValue | undefined): Resource {
  return typeof json === "object" && json !== null && !Array.isArray(json) ? json : {};
}

function text(json: JsonValue | undefined): string {
  return typeof json === "string" ? json : "";
}

/**
 * Reads a time: milliseconds as a number, or an instant of ISO 8601, in whole
 * milliseconds. Undefined: neither, or one that a `google.protobuf.Timestamp`
 * cannot hold (it reaches from year 1 to 9999).
 */
export function timeMs(json: unknown): number | undefined {
  const ms = typeof json === "string" && instant.test(json) ? Date.parse(json) : json;
  return typeof ms === "number" && ms >= -62_135_596_800_000 && ms < 253_402_300_800_000
    ? Math.floor(ms)
    : undefined;
}

// With its zone: without one it would be read in ours.
const instant = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)$/;

// A count beyond int32 would make the whole answer unreadable for the caller.
function integer(json: JsonValue | undefined): number {
  return typeof json === "number" && (json | 0) === json ? json : 0;
}
