import { createHash } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { create } from "@bufbuild/protobuf";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import {
  type CreateTaskRequest,
  type CreateWorkflowRequest,
  type ExecutorService,
  GetTaskRequestSchema,
  GetWorkflowRequestSchema,
  ListOrder,
  type Task,
} from "../../gen/taskgate/v1/executor_pb.ts";
import type { CallResult } from "../model/call-result.ts";
import { createFailure } from "../model/failure.ts";
import { callerKey } from "./caller.ts";
import { assertDefinitions, assertSeen, maySeeTask, maySeeWorkflow } from "./definition-access.ts";
import {
  assertNotDraining,
  type ExecutorDeps,
  type ExecutorUpstream,
  type ExecutorWork,
  requireAidbox,
  unwrap,
} from "./executor-upstream.ts";
import { paramsText } from "./json-choice.ts";
import { assertSize, createRequestChecker, type RequestChecker } from "./request-checker.ts";
import { checkRequestId } from "./submit-options.ts";

type ClientRpcs = Pick<
  ServiceImpl<typeof ExecutorService>,
  | "createTask"
  | "getTask"
  | "cancelTask"
  | "listTasks"
  | "createWorkflow"
  | "getWorkflow"
  | "cancelWorkflow"
  | "listWorkflows"
>;

/** The RPCs with which a client creates tasks and workflows and watches them. */
export function createClientRpcs(deps: ExecutorDeps): ClientRpcs {
  return {
    async createTask(request, context) {
      const aidbox = requireAidbox(deps.upstream);
      assertNotDraining(deps);
      const { id, params } = checkCreate(request, context, deps);
      assertDefinitions(context.values.get(callerKey), { taskDefinitions: [request.definition] });
      const result = await aidbox.createTask(request, id, params, context.signal);
      const settled = await sameAsBefore(result, request, params, async () => {
        const found = await aidbox.getTask(create(GetTaskRequestSchema, { id }), context.signal);
        return found.kind === "ok" ? found.value.task : undefined;
      });
      return { task: unwrap(settled, context, { task_id: id }) };
    },

    async getTask(request, context) {
      const aidbox = requireAidbox(deps.upstream);
      checkId(request.id);
      const found = unwrap(await aidbox.getTask(request, context.signal), context);
      assertSeen(maySeeTask(context.values.get(callerKey), found.task), request.id);
      return found;
    },

    async cancelTask(request, context) {
      const aidbox = requireAidbox(deps.upstream);
      checkId(request.id);
      const caller = context.values.get(callerKey);
      if (caller.definitions !== undefined) {
        const seen = create(GetTaskRequestSchema, { id: request.id });
        const { task } = unwrap(await aidbox.getTask(seen, context.signal), context);
        assertSeen(maySeeTask(caller, task), request.id);
      }
      const result = await aidbox.cancelTask(request.id, context.signal);
      const cause = causeOfCancel(result);
      if (cause !== undefined) {
        await aidbox.onTaskOver(request.id, cause);
      }
      return { task: unwrap(result, context) };
    },

    async listTasks(request, context) {
      const aidbox = requireAidbox(deps.upstream);
      const checker = createRequestChecker();
      request.includeDefinitions.forEach((name, index) => {
        checker.requireText(`include_definitions[${index}]`, name);
      });
      request.excludeDefinitions.forEach((name, index) => {
        checker.requireText(`exclude_definitions[${index}]`, name);
      });
      checkFilter(request, checker);
      checker.throwIfInvalid();
      const caller = context.values.get(callerKey);
      const tasks = unwrap(await aidbox.listTasks(request, context.signal), context);
      return { tasks: tasks.filter((task) => maySeeTask(caller, task)) };
    },

    async createWorkflow(request, context) {
      const aidbox = requireAidbox(deps.upstream);
      assertNotDraining(deps);
      const { id, params } = checkCreate(request, context, deps);
      assertDefinitions(context.values.get(callerKey), { workflowDefinitions: [request.definition] });
      const result = await aidbox.createWorkflow(request, id, params, context.signal);
      const settled = await sameAsBefore(result, request, params, async () => {
        const found = await aidbox.getWorkflow(create(GetWorkflowRequestSchema, { id }), context.signal);
        return found.kind === "ok" ? found.value.workflow : undefined;
      });
      return { workflow: unwrap(settled, context, { workflow_id: id }) };
    },

    async getWorkflow(request, context) {
      const aidbox = requireAidbox(deps.upstream);
      checkId(request.id);
      const found = unwrap(await aidbox.getWorkflow(request, context.signal), context);
      assertSeen(maySeeWorkflow(context.values.get(callerKey), found.workflow), request.id);
      return found;
    },

    async cancelWorkflow(request, context) {
      const aidbox = requireAidbox(deps.upstream);
      checkId(request.id);
      const caller = context.values.get(callerKey);
      if (caller.definitions !== undefined) {
        const seen = create(GetWorkflowRequestSchema, { id: request.id });
        const { workflow } = unwrap(await aidbox.getWorkflow(seen, context.signal), context);
        assertSeen(maySeeWorkflow(caller, workflow), request.id);
      }
      const result = await aidbox.cancelWorkflow(request.id, context.signal);
      if (result.kind === "ok" && aidbox.hasHolders()) {
        await tellOfWorkflow(aidbox, request.id, context.signal);
      }
      return { workflow: unwrap(result, context) };
    },

    async listWorkflows(request, context) {
      const aidbox = requireAidbox(deps.upstream);
      const checker = createRequestChecker();
      checkFilter(request, checker);
      checker.throwIfInvalid();
      const caller = context.values.get(callerKey);
      const workflows = unwrap(await aidbox.listWorkflows(request, context.signal), context);
      return { workflows: workflows.filter((workflow) => maySeeWorkflow(caller, workflow)) };
    },
  };
}

// What a worker that still holds the task is told; undefined: nothing.
function causeOfCancel(result: CallResult<Task>): ErrorReason | undefined {
  if (result.kind === "ok") {
    return ErrorReason.TASK_CANCELLED;
  }
  const { reason } = result.failure;
  return reason === ErrorReason.TASK_CANCELLED || reason === ErrorReason.TASK_FINISHED ? reason : undefined;
}

// FACT: cancelling a workflow cancels what it has begun, all the way down. Whatever is
// not found out here, the next beat tells.
async function tellOfWorkflow(
  aidbox: ExecutorUpstream & ExecutorWork,
  id: string,
  signal: AbortSignal,
  depth = 0,
): Promise<void> {
  const request = create(GetWorkflowRequestSchema, { id, includeActivities: true, includeDecisions: true });
  const found = await aidbox.getWorkflow(request, signal);
  if (found.kind === "failed") {
    return;
  }
  const activities = found.value.activities.map(({ activity }) => activity);
  const tasks = activities.flatMap(({ case: kind, value }) => (kind === "task" ? [value] : []));
  for (const task of [...tasks, ...found.value.decisions]) {
    if (task.outcome === "canceled") {
      await aidbox.onTaskOver(task.id, ErrorReason.TASK_CANCELLED);
    }
  }
  for (const { case: kind, value } of activities) {
    if (kind === "workflow" && depth < maxWorkflowDepth) {
      await tellOfWorkflow(aidbox, value.id, signal, depth + 1);
    }
  }
}

const maxWorkflowDepth = 10;

// Aidbox refuses a second creation under one id. Where the id comes from a request
// id, that is the same request again, and its answer is what the first one made;
// unless its content is another.
async function sameAsBefore<Created extends { definition: string; resourceJson: string }>(
  result: CallResult<Created>,
  request: CreateTaskRequest | CreateWorkflowRequest,
  params: string,
  find: () => Promise<Created | undefined>,
): Promise<CallResult<Created>> {
  const isRepetition =
    result.kind === "failed" &&
    result.failure.reason === ErrorReason.UPSTREAM_REJECTED &&
    request.requestId !== "" &&
    request.id === "";
  const before = isRepetition ? await find() : undefined;
  if (before === undefined) {
    return result;
  }
  const resource = parseExactly(before.resourceJson) as Record<string, unknown>;
  const { label, executeAt, params: paramsBefore } = resource;
  const isSame =
    before.definition === request.definition &&
    (label ?? "") === request.label &&
    (!("executeTime" in request) ||
      (executeAt ?? "") === request.executeTime ||
      request.executeTime === "") &&
    isDeepStrictEqual(paramsBefore, parseExactly(params));
  return isSame
    ? { kind: "ok", value: before }
    : {
        kind: "failed",
        failure: createFailure(
          ErrorReason.REQUEST_ID_REUSED,
          "the request_id came before with other content",
        ),
      };
}

// Numbers as they are written: two that differ must not become one.
function parseExactly(json: string): unknown {
  return JSON.parse(json, (_, value: unknown, context?: { source?: string }) =>
    typeof value === "number" ? `number ${context?.source ?? value}` : value,
  );
}

function checkId(id: string): void {
  const checker = createRequestChecker();
  checker.requireText("id", id);
  checker.throwIfInvalid();
}

function checkFilter(
  request: { status: string; outcome: string; ilike: string; order: ListOrder },
  checker: RequestChecker,
): void {
  checker.text("status", request.status);
  checker.text("outcome", request.outcome);
  checker.text("ilike", request.ilike);
  checker.member("order", request.order, ListOrder);
}

const dateTime = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})?$/;

function checkCreate(
  request: CreateTaskRequest | CreateWorkflowRequest,
  context: HandlerContext,
  deps: ExecutorDeps,
): { id: string; params: string } {
  const checker = createRequestChecker();
  checker.requireText("definition", request.definition);
  const params = paramsText(request.input, "", { maxDepth: deps.limits.maxPayloadDepth }, checker);
  checker.text("id", request.id);
  checker.text("label", request.label);
  if (request.executeTime !== "" && !dateTime.test(request.executeTime)) {
    checker.add("execute_time", "must be YYYY-MM-DDThh:mm:ss, with or without a zone");
  }
  checkRequestId(request.requestId, checker);
  checker.throwIfInvalid();
  assertSize("params", params, deps.limits.maxPayloadBytes);
  return { id: request.id || derivedId(request.requestId, context) || deps.randomId(), params };
}

// The same caller, RPC and request id name the same resource, also after a restart.
function derivedId(requestId: string, context: HandlerContext): string | undefined {
  if (requestId === "") {
    return undefined;
  }
  const name = JSON.stringify([context.values.get(callerKey).name, context.method.name, requestId]);
  const hex = createHash("sha256").update(name).digest("hex");
  // A UUID of version 8, which RFC 9562 leaves to such uses.
  const variant = ((Number.parseInt(hex.slice(16, 18), 16) & 0x3f) | 0x80).toString(16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${hex.slice(18, 20)}-${hex.slice(20, 32)}`;
}
