import { randomUUID } from "node:crypto";
import type { ServerResponse } from "node:http";
import type { DescField, DescMessage, DescMethodUnary, MessageInitShape } from "@bufbuild/protobuf";
import { load } from "js-yaml";
import { describe, expect, test } from "vitest";
import { CallbackService } from "../../gen/taskgate/v1/callback_pb.ts";
import { ExecutorService } from "../../gen/taskgate/v1/executor_pb.ts";
import { WaitFor } from "../../gen/taskgate/v1/receipt_pb.ts";
import { TaskRunStatus, TaskStatusService } from "../../gen/taskgate/v1/task_status_pb.ts";
import { grpcClient } from "../support/clients.ts";
import { type SeenRequest, useScriptedServer } from "../support/scripted-server.ts";
import { useGateway } from "../support/use-gateway.ts";

const hostile: readonly string[] = [
  "a\nmethod: awf.task/fail",
  'a"\nmethod: awf.task/fail\nx: "',
  "---\nmethod: awf.task/fail\nparams: {}\n---",
  "...\n---\nmethod: x",
  '"}, "method": "awf.task/fail", "x": {"y": "',
  '"\\u0022}\\',
  "\r\nX-Evil: 1\r\n\r\nPOST /evil HTTP/1.1\r\nHost: evil",
  "\r",
  "\n",
  "\t",
  "\0",
  "\u0001\u001b[31m\u007f",
  "\u0085\u2028\u2029\ufeff\ufffe",
  "!!js/function 'x'",
  "!!python/object/apply:os.system [id]",
  "&a [*a]",
  "*a",
  "<<: {a: b}",
  "{{7*7}} #{7*7} `id` $(id)",
  "../../../etc/passwd",
  "%0d%0aX-Evil:%201",
  "no",
  "1e3",
  "012",
  "2021-10-25",
  "null",
  "~",
  "\u{1f600}\u0301\u202e",
  "__proto__",
  "x".repeat(20_000),
];

interface Case {
  method: DescMethodUnary;
  /** Of a task of its own, by the UUID that it is given. */
  request: (own: string) => object;
  /** What Aidbox must be asked for; undefined: it is not Aidbox. */
  asked: string | undefined;
}

function aCase<Method extends DescMethodUnary>(
  method: Method,
  request: (own: string) => MessageInitShape<Method["input"]>,
  asked?: string,
): Case {
  return { method, request, asked };
}

function targetOf(own: string) {
  const value = `/api/processes/${own}/callback/A-Za-z0-9_abcdefghijklmnopqrstuvwxyz0123456`;
  return { case: "callbackRoute", value } as const;
}

const { updateTask, setOutput, sendLog } = TaskStatusService.method;
const { completeCallback, reportCallbackProgress } = CallbackService.method;
const executor = ExecutorService.method;
const waitFor = WaitFor.DELIVERED;
const attempt = (own: string) => ({ id: own, execId: "exec" });
const cases: readonly Case[] = [
  aCase(updateTask, (taskRunId) => ({ taskRunId, status: TaskRunStatus.RUNNING, message: "x", waitFor })),
  aCase(setOutput, (taskRunId) => ({
    taskRunId,
    name: "x",
    output: { case: "valueJson" as const, value: "1" },
    waitFor,
  })),
  aCase(sendLog, (taskRunId) => ({ taskRunId, name: "x", data: "x", waitFor })),
  aCase(completeCallback, (own) => ({
    target: targetOf(own),
    payload: { case: "result" as const, value: { jobId: "x", output: ["x"], returnCode: 0, status: "x" } },
  })),
  aCase(completeCallback, (own) => ({
    target: targetOf(own),
    payload: { case: "json" as const, value: "{}" },
  })),
  aCase(reportCallbackProgress, (own) => ({
    target: targetOf(own),
    progress: { case: "text" as const, value: "x" },
  })),
  aCase(reportCallbackProgress, (own) => ({
    target: targetOf(own),
    progress: { case: "json" as const, value: "{}" },
  })),
  aCase(
    executor.pollTasks,
    () => ({ taskDefinitions: ["a/b"], workflowDefinitions: ["c/d"] }),
    "awf.task/poll",
  ),
  aCase(executor.startTask, attempt, "awf.task/start"),
  aCase(executor.heartbeatTask, (own) => ({ ...attempt(own), message: "x" }), "awf.task/notify"),
  aCase(
    executor.reportTaskProgress,
    (own) => ({ ...attempt(own), unit: "x", current: 1n }),
    "awf.task/notify",
  ),
  aCase(
    executor.succeedTask,
    (own) => ({ ...attempt(own), outcome: { case: "resultJson" as const, value: "1" } }),
    "awf.task/success",
  ),
  aCase(
    executor.failTask,
    (own) => ({ ...attempt(own), reason: { case: "errorJson" as const, value: "1" } }),
    "awf.task/fail",
  ),
  aCase(
    executor.createTask,
    (id) => ({ definition: "a/b", id, label: "x", input: { case: "paramsJson" as const, value: "{}" } }),
    "awf.task/create-and-execute",
  ),
  aCase(
    executor.listTasks,
    () => ({
      includeDefinitions: ["a/b"],
      excludeDefinitions: ["c/d"],
      status: "x",
      outcome: "x",
      ilike: "x",
    }),
    "awf.task/list",
  ),
  aCase(executor.getTask, (id) => ({ id }), "awf.task/status"),
  aCase(executor.cancelTask, (id) => ({ id }), "awf.task/cancel"),
  aCase(
    executor.createWorkflow,
    (id) => ({ definition: "a/b", id, label: "x" }),
    "awf.workflow/create-and-execute",
  ),
  aCase(executor.getWorkflow, (id) => ({ id }), "awf.workflow/status"),
  aCase(executor.cancelWorkflow, (id) => ({ id }), "awf.workflow/cancel"),
];

// They stay in the gateway.
const ownFields = new Set(["request_id", "session_id"]);

/** All strings that a request of the case can hold, as the path to each. */
function stringPaths(desc: DescMessage, request: Record<string, unknown>): string[][] {
  return desc.fields.flatMap((field) => pathsOf(field, request));
}

function pathsOf(field: DescField, request: Record<string, unknown>): string[][] {
  const { oneof } = field;
  const chosen =
    oneof === undefined ? undefined : (request[oneof.localName] as { case: string; value: unknown });
  if (oneof !== undefined && chosen?.case !== field.localName) {
    return [];
  }
  const path = oneof === undefined ? [field.localName] : [oneof.localName, "value"];
  if (ownFields.has(field.name) || (field.oneof === undefined && field.name === "task_run_id")) {
    return [];
  }
  if (field.fieldKind === "scalar" && field.scalar === 9) {
    return [path];
  }
  if (field.fieldKind === "list" && field.listKind === "scalar" && field.scalar === 9) {
    return [[...path, "0"]];
  }
  const value = oneof === undefined ? request[field.localName] : chosen?.value;
  return field.fieldKind === "message" && typeof value === "object" && value !== null
    ? stringPaths(field.message, value as Record<string, unknown>).map((rest) => [...path, ...rest])
    : [];
}

function withText(request: object, path: readonly string[], text: string): object {
  const copy = structuredClone(request) as Record<string, unknown>;
  let at: Record<string, unknown> = copy;
  for (const step of path.slice(0, -1)) {
    at[step] ??= step === "value" ? {} : [];
    at = at[step] as Record<string, unknown>;
  }
  at[path.at(-1) ?? ""] = text;
  return copy;
}

/** All texts in a value, keys included. */
function textsIn(value: unknown): string[] {
  if (typeof value === "string") {
    return [value];
  }
  if (typeof value !== "object" || value === null) {
    return [];
  }
  return Object.entries(value).flatMap(([key, each]) => [key, ...textsIn(each)]);
}

/** What is wrong with what the upstream has seen of a call with the text in it. */
function problemWith(seen: readonly SeenRequest[], text: string, { asked }: Case): string | undefined {
  const [request, ...more] = seen;
  if (request === undefined || more.length > 0) {
    return `${seen.length} requests`;
  }
  const parsed: unknown = asked === undefined ? JSON.parse(request.body) : load(request.body);
  if (asked !== undefined) {
    const { method, ...rest } = parsed as Record<string, unknown>;
    if (method !== asked || Object.keys(rest).some((key) => key !== "params")) {
      return `it was asked for ${method} with ${Object.keys(rest)}`;
    }
  }
  return textsIn(parsed).includes(text) ? undefined : `the text is not in ${request.body.slice(0, 200)}`;
}

function hasJson(request: Record<string, unknown>): boolean {
  return Object.values(request).some(
    (each) => typeof each === "object" && each !== null && "case" in each && /json$/i.test(String(each.case)),
  );
}

// Enough of an answer for each upstream.
function answer({ body, headers }: SeenRequest, response: ServerResponse): void {
  if (!/yaml/.test(String(headers["content-type"]))) {
    response.writeHead(200, { "content-type": "application/json" }).end("null");
    return;
  }
  const { method, params } = load(body) as { method: string; params: Record<string, unknown> };
  const outcome = { "awf.task/success": "succeeded", "awf.task/fail": "failed" }[method];
  const resource = { ...params, status: outcome === undefined ? "in-progress" : "done", outcome };
  const result = /poll|list/.test(method) ? { resources: [] } : { resource };
  response.writeHead(200, { "content-type": "text/yaml" }).end(JSON.stringify({ result }));
}

describe("S10 a text in a field stays that text, and is nothing else", () => {
  test.each(cases.map((each, index) => [`${each.method.name} (${index})`, each] as const))(
    "%s",
    async (_, each) => {
      const server = await useScriptedServer(answer);
      const { url } = await useGateway({
        ORCHESTRA_WEBHOOK_URL: server.origin,
        ORCHESTRA_API_KEY: "key",
        TASKGATE_ORCHESTRATOR_URL: server.origin,
        TASKGATE_AIDBOX_URL: server.origin,
        TASKGATE_AIDBOX_CLIENT_ID: "id",
        TASKGATE_AIDBOX_CLIENT_SECRET: "secret",
        TASKGATE_DRAIN_TIMEOUT: "100ms",
      });
      const caller = grpcClient.connect(url);
      const example = each.request(randomUUID()) as Record<string, unknown>;
      const isJson = hasJson(example);
      const problems: string[] = [];
      let arrived = 0;
      for (const path of stringPaths(each.method.input, example)) {
        for (const text of hostile) {
          server.seen.length = 0;
          // JSON is exact text: the hostile one is in it.
          const isPayload = isJson && path[0] !== "target" && path.at(-1) === "value";
          const value = isPayload ? JSON.stringify({ [text]: text }) : text;
          const request = withText(each.request(randomUUID()), path, value);
          let refusal: string | undefined;
          try {
            await caller.call(each.method, request as never);
          } catch (error) {
            refusal = String(error);
          }
          if (
            server.seen.length === 0 &&
            /invalid_argument|permission_denied|resource_exhausted/.test(refusal ?? "")
          ) {
            continue;
          }
          arrived += 1;
          const problem = problemWith(server.seen, text, each);
          if (problem !== undefined) {
            problems.push(
              `${path.join(".")} = ${JSON.stringify(text.slice(0, 60))}: ${problem}; ${refusal ?? "OK"}`,
            );
          }
        }
      }
      expect(problems.slice(0, 5)).toEqual([]);
      expect(arrived).toBeGreaterThan(0);
    },
  );
});
