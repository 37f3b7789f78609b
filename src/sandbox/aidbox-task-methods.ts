import { type Definitions, settingsOf } from "./aidbox-definitions.ts";
import { listResources } from "./aidbox-list.ts";
import { creation, type Method, type RpcReply, resourceReply, sort, text } from "./aidbox-method.ts";
import type { ParamError } from "./aidbox-params.ts";
import { instant, notFound, refuse } from "./aidbox-resource.ts";
import { decisionQueue, taskQueue } from "./aidbox-task-record.ts";
import type { TaskRequest } from "./aidbox-tasks.ts";
import type { JsonObject } from "./json.ts";

const id = { required: "string" } as const;
const execution = { id, execId: { required: "string" } } as const;
const polling = {
  taskDefinitions: "strings",
  workflowDefinitions: "strings",
  maxBatchSize: "integer",
} as const;
// UNKNOWN: that the names with a namespace and those without are both taken. The documentation has one of each.
const heartbeat = ["awf.task/heartbeat", "heartbeat"];
const progress = ["awf.task/progress", "progress"];

/** FACT: names, parameters and results. */
export const taskMethods: Readonly<Record<string, Method>> = {
  "awf.task/poll": {
    params: polling,
    check: pollErrors,
    run: ({ tasks, definitions }, params) =>
      unknownDefinition(definitions, params) ?? {
        result: { resources: tasks.poll(queuesOf(params), batchSize(params)) },
      },
  },
  "awf.task/long-poll": {
    params: { ...polling, timeout: "integer" },
    check: pollErrors,
    async run({ tasks, definitions }, params) {
      const refusal = unknownDefinition(definitions, params);
      if (refusal !== undefined) {
        return refusal;
      }
      const timeoutMs = Number(params.timeout ?? 60_000);
      return { result: { resources: await tasks.longPoll(queuesOf(params), batchSize(params), timeoutMs) } };
    },
  },
  "awf.task/start": {
    params: execution,
    run: ({ tasks }, params) => resourceReply(tasks.start(text(params.id), text(params.execId))),
  },
  "awf.task/notify": {
    params: {
      ...execution,
      notification: { required: [...heartbeat, ...progress] },
      message: "string",
      "progress-current": "integer",
      "progress-total": "integer",
      "progress-unit": "string",
    },
    check: ({ notification, "progress-current": current }) =>
      progress.includes(text(notification)) && current === undefined
        ? [{ message: ":progress-current is required", type: "require" }]
        : [],
    run({ tasks }, { id: taskId, execId, ...notification }) {
      const reply = tasks.notify(text(taskId), text(execId), notification);
      if (reply.error !== undefined) {
        return { error: reply.error };
      }
      return { result: { inProgressTimeoutAt: instant(reply.value) } };
    },
  },
  "awf.task/success": {
    params: { ...execution, result: "any" },
    run: ({ tasks }, params) =>
      resourceReply(tasks.success(text(params.id), text(params.execId), params.result)),
  },
  "awf.task/fail": {
    params: { ...execution, error: "any" },
    run: ({ tasks }, params) => resourceReply(tasks.fail(text(params.id), text(params.execId), params.error)),
  },
  "awf.task/create-and-execute": {
    params: creation,
    run: ({ tasks }, params) => resourceReply(tasks.create(params as JsonObject & TaskRequest)),
  },
  "awf.task/cancel": {
    params: { id },
    run: ({ tasks }, params) => resourceReply(tasks.cancel(text(params.id))),
  },
  "awf.task/status": {
    params: { id, "include-log?": "boolean", "include-settings?": "boolean" },
    run({ tasks }, params) {
      const record = tasks.get(text(params.id));
      if (record === undefined) {
        return notFound();
      }
      const { resource, log, definition } = record;
      return {
        result: {
          resource,
          ...(params["include-settings?"] === true && { settings: settingsOf(definition) }),
          ...(params["include-log?"] === true && { log }),
        },
      };
    },
  },
  "awf.task/list": {
    params: {
      filter: {
        includeDefinitions: "strings",
        excludeDefinitions: "strings",
        status: ["created", "waiting", "ready", "requested", "in-progress", "done"],
        outcome: ["succeeded", "failed", "canceled"],
        ilike: "string",
      },
      sort,
    },
    run({ tasks }, params) {
      const resources = tasks.list().map(({ resource }) => resource);
      return { result: { resources: listResources(resources, params) } };
    },
  },
};

// UNKNOWN: the documentation says that one of the two SHOULD be given, and that sizes and times are integers.
function pollErrors(params: JsonObject): ParamError[] {
  const { taskDefinitions, workflowDefinitions, maxBatchSize = 1, timeout = 0 } = params;
  const isEmpty = [taskDefinitions, workflowDefinitions].every(
    (each) => !Array.isArray(each) || each.length === 0,
  );
  if (isEmpty) {
    return [{ message: "Either :taskDefinitions or :workflowDefinitions is required", type: "require" }];
  }
  const isInRange = Number(maxBatchSize) >= 1 && Number(timeout) >= 0;
  return isInRange ? [] : [{ message: "Expected a positive number", type: "number.min" }];
}

// UNKNOWN: what the real one says; here it is only said when definitions are strict.
function unknownDefinition(definitions: Definitions, params: JsonObject): RpcReply | undefined {
  const { taskDefinitions = [], workflowDefinitions = [] } = params;
  const names = [...(taskDefinitions as string[]), ...(workflowDefinitions as string[])];
  const unknown = names.find((name) => definitions.find(name) === undefined);
  return unknown === undefined
    ? undefined
    : refuse("awf.task/unknown-definition", `Unknown definition: ${unknown}`);
}

function queuesOf({ taskDefinitions = [], workflowDefinitions = [] }: JsonObject): string[] {
  return [
    ...new Set([
      ...(taskDefinitions as string[]).map(taskQueue),
      ...(workflowDefinitions as string[]).map(decisionQueue),
    ]),
  ];
}

function batchSize({ maxBatchSize = 1 }: JsonObject): number {
  return Number(maxBatchSize);
}
