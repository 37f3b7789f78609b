import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { TimestampSchema, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import {
  ActivitySchema,
  CreateTaskRequestSchema,
  CreateWorkflowRequestSchema,
  DecisionSchema,
  GetTaskRequestSchema,
  GetWorkflowRequestSchema,
  ListTasksRequestSchema,
  ListWorkflowsRequestSchema,
  LongPollTasksRequestSchema,
  PollTasksRequestSchema,
  type Task,
  TaskLogEntrySchema,
  TaskSchema,
  type Workflow,
  WorkflowSchema,
} from "../../gen/taskgate/v1/executor_pb.ts";
import type { Failure } from "../../gen/taskgate/v1/receipt_pb.ts";
import type { AttemptResult } from "../../src/model/attempt-result.ts";
import type { CallResult } from "../../src/model/call-result.ts";
import { constantCredential } from "../../src/model/credential.ts";
import type { NewDelivery, SentDelivery } from "../../src/model/delivery.ts";
import { type Aidbox, createAidbox, prepareTaskOutcome } from "../../src/upstream/aidbox.ts";
import { type AidboxRpc, createAidboxRpc } from "../../src/upstream/aidbox-rpc.ts";
import type { HttpClientOptions } from "../../src/upstream/http-client.ts";
import { answering, unusedOrigin, useScriptedServer } from "../support/scripted-server.ts";
import { useHttpClient } from "../support/use-http-client.ts";
import { expectedFailure } from "./expected-failure.ts";

const attempt = { id: "t1", execId: "e1" };

interface Rpc {
  method: string;
  params: unknown;
}

/** What Aidbox answers: a status and a body, or nothing, or a connection that breaks. */
type Answer = readonly [status: number, body: string] | "silence" | "break";

interface UsedAidbox {
  aidbox: Aidbox;
  /** The RPCs so far, read as YAML 1.1. */
  rpcs: Rpc[];
}

function rpcAt(origin: string, options?: Partial<HttpClientOptions>): AidboxRpc {
  return createAidboxRpc({
    http: useHttpClient(origin, options),
    basePath: "",
    clientId: "id",
    clientSecret: constantCredential("secret"),
    now: () => 0,
  });
}

function aidboxAt(origin: string, timeoutMs: number, options?: Partial<HttpClientOptions>): Aidbox {
  return createAidbox({
    rpc: rpcAt(origin, options),
    longPollRpc: rpcAt(origin, options),
    workPollRpc: rpcAt(origin, options),
    timeoutMs,
    notifications: { heartbeat: "awf.task/heartbeat", progress: "awf.task/progress" },
  });
}

async function useAidbox(answerTo: (rpc: Rpc) => Answer, timeoutMs = 10_000): Promise<UsedAidbox> {
  const rpcs: Rpc[] = [];
  const server = await useScriptedServer(({ body }, response) => {
    const rpc: Rpc = parse(body, { version: "1.1" });
    rpcs.push(rpc);
    const answer = answerTo(rpc);
    if (answer === "break") {
      response.destroy();
    } else if (answer !== "silence") {
      response.writeHead(answer[0], { "content-type": "text/yaml" });
      response.end(answer[1]);
    }
  });
  return { aidbox: aidboxAt(server.origin, timeoutMs), rpcs };
}

function sent({ taskId, attempt, target, body }: NewDelivery, isInDoubt = false): SentDelivery {
  return { taskId, attempt, target, body, isInDoubt };
}

type AnyResult = CallResult<unknown> | AttemptResult;

interface Call {
  name: string;
  ids: string;
  call: (aidbox: Aidbox, signal?: AbortSignal) => Promise<AnyResult>;
  rpc: Rpc;
  /** A read that failed is just unavailable; anything else may have changed something. */
  isRead: boolean;
  /** What a resource is picked from. */
  result: "resource" | "resources" | "notification";
  /** What asks for the reason of a refusal. */
  explainedBy?: "awf.task/status" | "awf.workflow/status";
}

const calls: readonly Call[] = [
  {
    name: "poll",
    ids: "A-10",
    call: (aidbox, signal) =>
      aidbox.poll(
        create(PollTasksRequestSchema, {
          taskDefinitions: ["a/b"],
          workflowDefinitions: ["w/x"],
          maxBatchSize: 3,
        }),
        signal,
      ),
    rpc: {
      method: "awf.task/poll",
      params: { taskDefinitions: ["a/b"], workflowDefinitions: ["w/x"], maxBatchSize: 3 },
    },
    isRead: true,
    result: "resources",
  },
  {
    name: "longPoll",
    ids: "A-11",
    call: (aidbox, signal) =>
      aidbox.longPoll(create(LongPollTasksRequestSchema, { taskDefinitions: ["a/b"] }), 20, signal),
    rpc: { method: "awf.task/long-poll", params: { taskDefinitions: ["a/b"], timeout: 20 } },
    isRead: true,
    result: "resources",
  },
  {
    name: "start",
    ids: "A-12",
    call: (aidbox, signal) => aidbox.start(attempt, signal),
    rpc: { method: "awf.task/start", params: { id: "t1", execId: "e1" } },
    isRead: false,
    result: "resource",
    explainedBy: "awf.task/status",
  },
  {
    name: "heartbeat",
    ids: "A-13",
    call: (aidbox, signal) => aidbox.heartbeat({ ...attempt, message: "alive" }, signal),
    rpc: {
      method: "awf.task/notify",
      params: { id: "t1", execId: "e1", notification: "awf.task/heartbeat", message: "alive" },
    },
    isRead: true,
    result: "notification",
    explainedBy: "awf.task/status",
  },
  {
    name: "progress",
    ids: "A-14",
    call: (aidbox, signal) => aidbox.progress(attempt, { current: 1n, total: 2n, unit: "rows" }, signal),
    rpc: {
      method: "awf.task/notify",
      params: {
        id: "t1",
        execId: "e1",
        notification: "awf.task/progress",
        "progress-current": 1,
        "progress-total": 2,
        "progress-unit": "rows",
      },
    },
    isRead: true,
    result: "notification",
    explainedBy: "awf.task/status",
  },
  {
    name: "createTask",
    ids: "A-18",
    call: (aidbox, signal) =>
      aidbox.createTask(
        create(CreateTaskRequestSchema, {
          definition: "a/b",
          label: "l",
          executeTime: "2023-05-03T13:30:43",
        }),
        "t1",
        '{"date":"2021-10-25"}',
        signal,
      ),
    rpc: {
      method: "awf.task/create-and-execute",
      params: {
        id: "t1",
        definition: "a/b",
        params: { date: "2021-10-25" },
        label: "l",
        executeAt: "2023-05-03T13:30:43",
      },
    },
    isRead: false,
    result: "resource",
  },
  {
    name: "getTask",
    ids: "A-19",
    call: (aidbox, signal) =>
      aidbox.getTask(
        create(GetTaskRequestSchema, { id: "t1", includeSettings: true, includeLog: true }),
        signal,
      ),
    rpc: { method: "awf.task/status", params: { id: "t1", "include-settings?": true, "include-log?": true } },
    isRead: true,
    result: "resource",
  },
  {
    name: "cancelTask",
    ids: "A-20",
    call: (aidbox, signal) => aidbox.cancelTask("t1", signal),
    rpc: { method: "awf.task/cancel", params: { id: "t1" } },
    isRead: false,
    result: "resource",
    explainedBy: "awf.task/status",
  },
  {
    name: "listTasks",
    ids: "A-21",
    call: (aidbox, signal) => aidbox.listTasks(create(ListTasksRequestSchema, { status: "done" }), signal),
    rpc: { method: "awf.task/list", params: { filter: { status: "done" } } },
    isRead: true,
    result: "resources",
  },
  {
    name: "createWorkflow",
    ids: "A-22",
    call: (aidbox, signal) =>
      aidbox.createWorkflow(create(CreateWorkflowRequestSchema, { definition: "w/x" }), "w1", "{}", signal),
    rpc: { method: "awf.workflow/create-and-execute", params: { id: "w1", definition: "w/x", params: {} } },
    isRead: false,
    result: "resource",
  },
  {
    name: "getWorkflow",
    ids: "A-23",
    call: (aidbox, signal) =>
      aidbox.getWorkflow(
        create(GetWorkflowRequestSchema, { id: "w1", includeActivities: true, includeDecisions: true }),
        signal,
      ),
    rpc: {
      method: "awf.workflow/status",
      params: { id: "w1", "include-activities?": true, "include-decisions?": true },
    },
    isRead: true,
    result: "resource",
  },
  {
    name: "cancelWorkflow",
    ids: "A-24",
    call: (aidbox, signal) => aidbox.cancelWorkflow("w1", signal),
    rpc: { method: "awf.workflow/cancel", params: { id: "w1" } },
    isRead: false,
    result: "resource",
    explainedBy: "awf.workflow/status",
  },
  {
    name: "listWorkflows",
    ids: "A-25",
    call: (aidbox, signal) => aidbox.listWorkflows(create(ListWorkflowsRequestSchema), signal),
    rpc: { method: "awf.workflow/list", params: {} },
    isRead: true,
    result: "resources",
  },
  {
    name: "send of a success",
    ids: "A-15",
    call: (aidbox, signal) =>
      aidbox.send(sent(prepareTaskOutcome({ ...attempt, verb: "success", json: '{"n":1e3}' })), signal),
    rpc: { method: "awf.task/success", params: { id: "t1", execId: "e1", result: { n: 1000 } } },
    isRead: false,
    result: "resource",
    explainedBy: "awf.task/status",
  },
  {
    name: "send of a decision",
    ids: "A-16 A-26",
    call: (aidbox, signal) =>
      aidbox.send(
        sent(
          prepareTaskOutcome({
            ...attempt,
            verb: "success",
            json: '[{"action":"awf.workflow.action/do-nothing"}]',
          }),
        ),
        signal,
      ),
    rpc: {
      method: "awf.task/success",
      params: { id: "t1", execId: "e1", result: [{ action: "awf.workflow.action/do-nothing" }] },
    },
    isRead: false,
    result: "resource",
    explainedBy: "awf.task/status",
  },
  {
    name: "send of a failure",
    ids: "A-17",
    call: (aidbox, signal) =>
      aidbox.send(
        sent(prepareTaskOutcome({ ...attempt, verb: "fail", json: '{"message":"broke"}' })),
        signal,
      ),
    rpc: { method: "awf.task/fail", params: { id: "t1", execId: "e1", error: { message: "broke" } } },
    isRead: false,
    result: "resource",
    explainedBy: "awf.task/status",
  },
];

const straightReads = calls.filter(({ isRead }) => isRead);
const changes = calls.filter(({ isRead }) => !isRead);
const gets = calls.filter(({ name }) => name.startsWith("get"));
const explained = calls.filter(({ explainedBy }) => explainedBy !== undefined);

/** What a resource becomes that a call answers with. */
function messageOf(
  { rpc }: Call,
  init: MessageInitShape<typeof TaskSchema> & MessageInitShape<typeof WorkflowSchema>,
): Task | Workflow {
  return rpc.method.startsWith("awf.task/") ? create(TaskSchema, init) : create(WorkflowSchema, init);
}

const isOutcome = ({ name }: Call) => name.startsWith("send");

/** What a refused call comes to; of an outcome `isTaskOpen` tells whether Aidbox waits for another one. */
function refused(each: Call, failure: Failure, isTaskOpen?: boolean): AnyResult {
  return isOutcome(each)
    ? { kind: "rejected", failure, ...(isTaskOpen === undefined ? {} : { isTaskOpen }) }
    : { kind: "failed", failure };
}

function failureOf(result: AnyResult): Failure | undefined {
  return result.kind === "ok" || result.kind === "accepted" ? undefined : result.failure;
}

function answered(code: Code, reason: ErrorReason, status: number, said?: string): Failure {
  return expectedFailure(code, reason, `aidbox answered ${status}${said === undefined ? "" : `: ${said}`}`, {
    upstream: "aidbox",
    http_status: String(status),
    ...(said === undefined ? {} : { upstream_message: said }),
  });
}

describe("a call", () => {
  test.each(calls)("$ids $name is one RPC with exactly its parameters", async ({ call, rpc }) => {
    const { aidbox, rpcs } = await useAidbox(() => [200, "result: {resource: {id: t1}, resources: []}\n"]);
    expect(failureOf(await call(aidbox))).toBeUndefined();
    expect(rpcs).toEqual([rpc]);
  });

  test("A-13 A-14 names what it notifies of as it is configured", async () => {
    const { aidbox, rpcs } = await useAidbox(() => [200, "result: {}\n"]);
    await aidbox.heartbeat({ ...attempt, message: "" });
    await aidbox.progress(attempt, { current: 0n, total: undefined, unit: "" });
    expect(rpcs).toEqual([
      { method: "awf.task/notify", params: { id: "t1", execId: "e1", notification: "awf.task/heartbeat" } },
      {
        method: "awf.task/notify",
        params: { id: "t1", execId: "e1", notification: "awf.task/progress", "progress-current": 0 },
      },
    ]);
  });

  test("A-11 long-poll outlives the time for which it asks Aidbox to wait", async () => {
    const { aidbox } = await useAidbox(() => "silence", 50);
    const request = create(LongPollTasksRequestSchema, { taskDefinitions: ["a/b"] });
    expect(failureOf(await aidbox.longPoll(request, 75))?.message).toContain("no answer within 125 ms");
    expect(failureOf(await aidbox.longPoll(request, 0))?.message).toContain("no answer within 50 ms");
  });

  test.each(calls)("A-11 $name goes over the connections that are meant for it", async (each) => {
    const sent: string[] = [];
    const { origin } = await useScriptedServer(
      answering(200, "result: {resource: {id: t1}, resources: []}\n"),
    );
    const named = (name: string): AidboxRpc => {
      const rpc = rpcAt(origin);
      return {
        send(...args) {
          sent.push(name);
          return rpc.send(...args);
        },
      };
    };
    const aidbox = createAidbox({
      rpc: named("calls"),
      longPollRpc: named("long polls"),
      workPollRpc: named("long polls of streams"),
      timeoutMs: 10_000,
      notifications: { heartbeat: "awf.task/heartbeat", progress: "awf.task/progress" },
    });
    expect(failureOf(await each.call(aidbox))).toBeUndefined();
    expect(sent).toEqual([each.name === "longPoll" ? "long polls" : "calls"]);
  });

  test("A-11 long polls that take all of their connections keep no other call waiting", async () => {
    const polled = Promise.withResolvers<void>();
    const server = await useScriptedServer(({ body }, response) => {
      if (body.includes("long-poll")) {
        polled.resolve();
      } else {
        response.end("result: {resource: {id: t1}, resources: []}\n");
      }
    });
    const aidbox = aidboxAt(server.origin, 10_000, { connections: 1 });
    const caller = new AbortController();
    const request = create(LongPollTasksRequestSchema, { taskDefinitions: ["a/b"] });
    const longPolls = [1, 2].map(() => aidbox.longPoll(request, 60_000, caller.signal));
    await polled.promise;
    const others = await Promise.all(
      calls.filter(({ name }) => name !== "longPoll").map(({ call }) => call(aidbox)),
    );
    expect(others.map(failureOf)).toEqual(others.map(() => undefined));
    expect(server.seen.filter(({ body }) => body.includes("long-poll")).length).toBe(1);
    caller.abort();
    expect((await Promise.all(longPolls)).map((result) => failureOf(result)?.message)).toEqual([
      "aidbox may have taken the request: the call was ended by its caller",
      "aidbox was not reached: the call was ended by its caller",
    ]);
  });

  test.each(calls)("$name ends with its caller", async ({ call }) => {
    const caller = new AbortController();
    const { aidbox } = await useAidbox(() => {
      caller.abort();
      return "silence";
    });
    expect(failureOf(await call(aidbox, caller.signal))?.message).toBe(
      "aidbox may have taken the request: the call was ended by its caller",
    );
  });
});

describe("a result", () => {
  const task = "{id: t1, z: 1.50, a: '0189', status: hibernating, executeAt: '2023-05-04T15:30:43'}";
  const received = {
    id: "t1",
    status: "hibernating",
    executeTime: "2023-05-04T15:30:43",
    resourceJson: '{"id":"t1","z":1.50,"a":"0189","status":"hibernating","executeAt":"2023-05-04T15:30:43"}',
  };

  test.each(calls.filter(({ result }) => result === "resources"))(
    "A-40 A-52 A-53 A-54 of $name is a list of resources, each with its text as it was received",
    async (each) => {
      const { aidbox } = await useAidbox(() => [200, `result:\n  resources: [${task}, {}]\n`]);
      expect(await each.call(aidbox)).toEqual({
        kind: "ok",
        value: [messageOf(each, received), messageOf(each, { resourceJson: "{}" })],
      });
    },
  );

  test.each(calls.filter(({ result }) => result === "resources"))(
    "A-49 of $name without any is an empty list",
    async ({ call }) => {
      const { aidbox } = await useAidbox(() => [200, "result:\n  resources: []\n"]);
      expect(await call(aidbox)).toEqual({ kind: "ok", value: [] });
    },
  );

  test.each(changes.filter(({ name }) => !name.startsWith("send")))(
    "A-52 A-53 of $name is a resource with its text as it was received",
    async (each) => {
      const { aidbox } = await useAidbox(() => [200, `result: {resource: ${task}}\n`]);
      expect(await each.call(aidbox)).toEqual({ kind: "ok", value: messageOf(each, received) });
    },
  );

  test("A-19 A-61 A-62 of getTask has settings and log where there are any", async () => {
    const log =
      "{action: awf.task/start, status-before: requested, status-after: in-progress, action-params: {a: 1}}";
    const bodies = [
      `result: {resource: ${task}, settings: {inProgressTimeout: 120000}, log: [${log}]}\n`,
      `result: {resource: ${task}}\n`,
      `result: {resource: ${task}, settings: null, log: null}\n`,
    ];
    const { aidbox } = await useAidbox(() => [200, bodies.shift() ?? ""]);
    const request = create(GetTaskRequestSchema, { id: "t1" });
    expect(await aidbox.getTask(request)).toEqual({
      kind: "ok",
      value: {
        task: create(TaskSchema, received),
        settingsJson: '{"inProgressTimeout":120000}',
        log: [
          create(TaskLogEntrySchema, {
            action: "awf.task/start",
            statusBefore: "requested",
            statusAfter: "in-progress",
            actionParams: {
              kind: {
                case: "structValue",
                value: { fields: { a: { kind: { case: "numberValue", value: 1 } } } },
              },
            },
            resourceJson:
              '{"action":"awf.task/start","status-before":"requested","status-after":"in-progress","action-params":{"a":1}}',
          }),
        ],
      },
    });
    expect(await aidbox.getTask(request)).toEqual({
      kind: "ok",
      value: { task: create(TaskSchema, received), settingsJson: "", log: [] },
    });
    expect(await aidbox.getTask(request)).toEqual({
      kind: "ok",
      value: { task: create(TaskSchema, received), settingsJson: "null", log: [] },
    });
  });

  test("A-23 of getWorkflow has activities and decisions where there are any", async () => {
    const bodies = [
      "result: {resource: {id: w1}, activities: [{id: t1}, {id: w2, resourceType: AidboxWorkflow}], decisions: [{id: d1}]}\n",
      "result: {resource: {id: w1}}\n",
    ];
    const { aidbox } = await useAidbox(() => [200, bodies.shift() ?? ""]);
    const request = create(GetWorkflowRequestSchema, { id: "w1" });
    const workflow = create(WorkflowSchema, { id: "w1", resourceJson: '{"id":"w1"}' });
    expect(await aidbox.getWorkflow(request)).toEqual({
      kind: "ok",
      value: {
        workflow,
        activities: [
          create(ActivitySchema, {
            activity: { case: "task", value: create(TaskSchema, { id: "t1", resourceJson: '{"id":"t1"}' }) },
          }),
          create(ActivitySchema, {
            activity: {
              case: "workflow",
              value: create(WorkflowSchema, {
                id: "w2",
                resourceJson: '{"id":"w2","resourceType":"AidboxWorkflow"}',
              }),
            },
          }),
        ],
        decisions: [create(TaskSchema, { id: "d1", resourceJson: '{"id":"d1"}' })],
      },
    });
    expect(await aidbox.getWorkflow(request)).toEqual({
      kind: "ok",
      value: { workflow, activities: [], decisions: [] },
    });
  });

  test("A-60 of a poll for decisions names workflow and event", async () => {
    const decision =
      "{definition: awf.workflow/decision-task, workflow-definition: w/x, requester: {id: w1, resourceType: AidboxWorkflow}, params: {event: awf.workflow.event/task-completed, task-id: t0}}";
    const { aidbox } = await useAidbox(() => [200, `result: {resources: [${decision}]}\n`]);
    const result = await aidbox.poll(create(PollTasksRequestSchema, { workflowDefinitions: ["w/x"] }));
    const [found] = result.kind === "ok" ? result.value : [];
    expect(found?.decision).toEqual(
      create(DecisionSchema, {
        workflowId: "w1",
        workflowDefinition: "w/x",
        event: "awf.workflow.event/task-completed",
        taskId: "t0",
      }),
    );
    expect(found?.resourceJson).toBe(
      '{"definition":"awf.workflow/decision-task","workflow-definition":"w/x","requester":{"id":"w1","resourceType":"AidboxWorkflow"},"params":{"event":"awf.workflow.event/task-completed","task-id":"t0"}}',
    );
  });

  test.each<[yaml: string, leaseExpireMs: number | undefined]>([
    ["'2023-05-05T14:07:27.831585Z'", Date.UTC(2023, 4, 5, 14, 7, 27, 831)],
    ["2023-05-05T14:07:27.831585Z", Date.UTC(2023, 4, 5, 14, 7, 27, 831)],
    ["'2023-05-05T14:07:27+02:00'", Date.UTC(2023, 4, 5, 12, 7, 27)],
    ["1683295647831", 1683295647831],
    ["0", 0],
    ["253402300799999", 253402300799999],
    ["soon", undefined],
    ["''", undefined],
    ["null", undefined],
    ["true", undefined],
    ["[1]", undefined],
    ["{a: 1}", undefined],
    ["1e300", undefined],
    ["1e400", undefined],
    ["-1", -1],
    ["-62135596800000", -62135596800000],
    ["'0001-01-01T00:00:00Z'", -62135596800000],
    ["'9999-12-31T23:59:59.999Z'", 253402300799999],
    ["-62135596800001", undefined],
    ["'0000-12-31T23:59:59.999Z'", undefined],
    ["-1e400", undefined],
    ["253402300800000", undefined],
    ["9007199254740993", undefined],
    ["'+275760-09-13T00:00:00Z'", undefined],
  ])("A-51 of a heartbeat, with a lease until %s, ends at %s", async (yaml, leaseExpireMs) => {
    const { aidbox } = await useAidbox(() => [200, `result: {inProgressTimeoutAt: ${yaml}}\n`]);
    expect(await aidbox.heartbeat({ ...attempt, message: "" })).toEqual({
      kind: "ok",
      value: { leaseExpireMs },
    });
    expect(await aidbox.progress(attempt, { current: 1n, total: undefined, unit: "" })).toEqual({
      kind: "ok",
      value: { leaseExpireMs },
    });
  });

  test.each(["1683295647.831585", "1683295647831.585", "0.0000001"])(
    "A-51 of a heartbeat, with a lease until %s, within a millisecond, can be sent",
    async (yaml) => {
      const { aidbox } = await useAidbox(() => [200, `result: {inProgressTimeoutAt: ${yaml}}\n`]);
      const result = await aidbox.heartbeat({ ...attempt, message: "" });
      const { leaseExpireMs = 0 } = result.kind === "ok" ? result.value : {};
      toBinary(TimestampSchema, timestampFromMs(leaseExpireMs));
    },
  );

  test.each(["{}", "[]", "alive", "null"])(
    "A-51 of a heartbeat may be %s: the lease is unknown",
    async (yaml) => {
      const { aidbox } = await useAidbox(() => [200, `result: ${yaml}\n`]);
      expect(await aidbox.heartbeat({ ...attempt, message: "" })).toEqual({
        kind: "ok",
        value: { leaseExpireMs: undefined },
      });
    },
  );

  test("A-50 of a failure with attempts left is accepted, and says that the task waits", async () => {
    const { aidbox } = await useAidbox(() => [
      200,
      "result: {resource: {id: t1, status: waiting, retryCount: 1}}\n",
    ]);
    expect(
      await aidbox.send(sent(prepareTaskOutcome({ ...attempt, verb: "fail", json: undefined }))),
    ).toEqual({
      kind: "accepted",
      answer: '{"id":"t1","status":"waiting","retryCount":1}',
    });
  });

  test.each([
    "{}",
    "{resource: null}",
    "{resource: done}",
    "{resource: [1]}",
    "{resource: {}}",
    "{resource: {id: t2, status: done}}",
    "{id: t1, status: done}",
    "done",
    "null",
    "[]",
  ])("A-48 of an outcome that is %s is not the task, and leaves a doubt", async (yaml) => {
    const { aidbox, rpcs } = await useAidbox(() => [200, `result: ${yaml}\n`]);
    expect(await aidbox.send(sent(prepareTaskOutcome({ ...attempt, verb: "success", json: "1" })))).toEqual({
      kind: "inDoubt",
      failure: expectedFailure(
        Code.Unknown,
        ErrorReason.UPSTREAM_UNCERTAIN,
        "aidbox answered with a result that is not the task",
        { upstream: "aidbox", http_status: "200" },
      ),
    });
    expect(rpcs.length).toBe(1);
  });

  test("A-50 A-52 of an outcome is read back as the task that it is, or as none", async () => {
    const { aidbox } = await useAidbox(() => [200, `result: {resource: ${task}}\n`]);
    const result = await aidbox.send(sent(prepareTaskOutcome({ ...attempt, verb: "success", json: "1" })));
    expect(result).toEqual({ kind: "accepted", answer: received.resourceJson });
    expect(aidbox.readAnswer(received.resourceJson)).toEqual(create(TaskSchema, received));
    expect(aidbox.readAnswer("")).toBeUndefined();
  });

  const unknownForm = (code: Code, reason: ErrorReason): CallResult<unknown> => ({
    kind: "failed",
    failure: expectedFailure(code, reason, "aidbox answered with a result of an unknown form", {
      upstream: "aidbox",
    }),
  });
  const unknownForms = [
    "{}",
    "[]",
    "done",
    "null",
    "{resource: null, resources: null}",
    "{resource: done, resources: done}",
    "{resource: [], resources: {}}",
  ];

  test.each(
    calls.filter(
      ({ name, isRead, result }) => !name.startsWith("send") && !isRead && result !== "notification",
    ),
  )("A-48 of $name in an unknown form leaves a doubt", async ({ call }) => {
    for (const form of unknownForms) {
      const { aidbox, rpcs } = await useAidbox(() => [200, `result: ${form}\n`]);
      expect(await call(aidbox)).toEqual(unknownForm(Code.Unknown, ErrorReason.UPSTREAM_UNCERTAIN));
      expect(rpcs.length).toBe(1);
    }
  });

  test.each(straightReads.filter(({ result }) => result !== "notification"))(
    "A-48 of $name in an unknown form is unavailable",
    async ({ call }) => {
      for (const form of unknownForms) {
        const { aidbox } = await useAidbox(() => [200, `result: ${form}\n`]);
        expect(await call(aidbox)).toEqual(unknownForm(Code.Unavailable, ErrorReason.UPSTREAM_UNAVAILABLE));
      }
    },
  );
});

describe("a failure", () => {
  const html = "<html>Bad Gateway</html>";
  const noResult = "text/yaml, and neither a result nor an error in it";

  test.each(straightReads)("A-48 A-57 of $name, which reads, is just unavailable", async ({ call }) => {
    const cases: readonly (readonly [answer: Answer, message: string])[] = [
      [[500, "error: {message: oops}"], "aidbox answered 500: oops"],
      [[502, html], "aidbox answered 502"],
      [[504, ""], "aidbox answered 504"],
      [[200, html], `aidbox answered 200: ${noResult}`],
      [[200, "a: &a 1\nresult: *a"], `aidbox answered 200: ${noResult}`],
      ["break", "aidbox may have taken the request: other side closed (UND_ERR_SOCKET)"],
    ];
    for (const [answer, message] of cases) {
      const { aidbox } = await useAidbox(() => answer);
      expect(failureOf(await call(aidbox))).toMatchObject({
        code: Code.Unavailable,
        reason: ErrorReason.UPSTREAM_UNAVAILABLE,
        message,
      });
    }
    const { aidbox } = await useAidbox(() => "silence", 50);
    expect(failureOf(await call(aidbox))).toMatchObject({
      code: Code.Unavailable,
      reason: ErrorReason.UPSTREAM_UNAVAILABLE,
    });
  });

  test.each(changes)("A-48 A-57 of $name, which changes something, leaves a doubt", async ({ call }) => {
    const cases: readonly (readonly [answer: Answer, message: string])[] = [
      [[500, "error: {message: oops}"], "aidbox answered 500: oops"],
      [[502, html], "aidbox answered 502"],
      [[504, ""], "aidbox answered 504"],
      [[200, html], `aidbox answered 200: ${noResult}`],
      [[200, "a: &a 1\nresult: *a"], `aidbox answered 200: ${noResult}`],
      ["break", "aidbox may have taken the request: other side closed (UND_ERR_SOCKET)"],
    ];
    for (const [answer, message] of cases) {
      const { aidbox, rpcs } = await useAidbox(() => answer);
      expect(failureOf(await call(aidbox))).toMatchObject({
        code: Code.Unknown,
        reason: ErrorReason.UPSTREAM_UNCERTAIN,
        message,
      });
      expect(rpcs.length).toBe(1);
    }
  });

  test("A-57 of whatever changes something leaves a doubt where nothing is answered in time", async () => {
    const { aidbox } = await useAidbox(() => "silence", 300);
    const failures = (await Promise.all(changes.map(({ call }) => call(aidbox)))).map(failureOf);
    expect(failures.map((failure) => failure?.reason)).toEqual(
      changes.map(() => ErrorReason.UPSTREAM_UNCERTAIN),
    );
  });

  test.each(calls)(
    "A-46 A-56 of $name keeps its kind where nothing was taken, and asks nothing more",
    async ({ call }) => {
      for (const [status, code, reason] of [
        [401, Code.FailedPrecondition, ErrorReason.UPSTREAM_AUTH],
        [403, Code.FailedPrecondition, ErrorReason.UPSTREAM_AUTH],
        [429, Code.Unavailable, ErrorReason.UPSTREAM_UNAVAILABLE],
        [503, Code.Unavailable, ErrorReason.UPSTREAM_UNAVAILABLE],
      ] as const) {
        const { aidbox, rpcs } = await useAidbox(() => [status, ""]);
        expect(failureOf(await call(aidbox))).toEqual(answered(code, reason, status));
        expect(rpcs.length).toBe(1);
      }
      const failure = failureOf(await call(aidboxAt(await unusedOrigin(), 10_000)));
      expect(failure).toMatchObject({ code: Code.Unavailable, reason: ErrorReason.UPSTREAM_UNAVAILABLE });
    },
  );

  test.each(calls.filter(({ explainedBy, name }) => explainedBy === undefined && !name.startsWith("get")))(
    "A-45 A-55 A-59 A-65 of $name that is refused is told as it is, and nothing more is asked",
    async ({ call }) => {
      for (const [status, body, code, said] of [
        [422, "error: {message: Resource not found}", Code.FailedPrecondition, "Resource not found"],
        [422, "error: {message: already exists}", Code.FailedPrecondition, "already exists"],
        [422, "error: {message: Invalid params}", Code.InvalidArgument, "Invalid params"],
        [413, "", Code.FailedPrecondition, undefined],
      ] as const) {
        const { aidbox, rpcs } = await useAidbox(() => [status, body]);
        expect(failureOf(await call(aidbox))).toEqual(
          answered(code, ErrorReason.UPSTREAM_REJECTED, status, said),
        );
        expect(rpcs.length).toBe(1);
      }
    },
  );

  test.each(gets)("A-44 of $name for what is unknown says so", async ({ call }) => {
    for (const [status, body, said] of [
      [422, "error: {message: Resource not found}", "Resource not found"],
      [404, "issue: [{diagnostics: Resource AidboxTask/t1 not found}]", "Resource AidboxTask/t1 not found"],
    ] as const) {
      const { aidbox } = await useAidbox(() => [status, body]);
      expect(await call(aidbox)).toEqual({
        kind: "failed",
        failure: answered(Code.NotFound, ErrorReason.TASK_UNKNOWN, status, said),
      });
    }
  });

  test.each(gets)("A-44 of $name that does not say so in words is just refused", async ({ call }) => {
    const { aidbox } = await useAidbox(() => [422, "error: {type: resource-not-found, message: no}"]);
    expect(failureOf(await call(aidbox))).toMatchObject({
      code: Code.FailedPrecondition,
      reason: ErrorReason.UPSTREAM_REJECTED,
      metadata: { upstream_type: "resource-not-found", upstream_message: "no" },
    });
  });

  test.each(gets)("A-45 of $name that is refused for another reason keeps it", async ({ call }) => {
    const { aidbox } = await useAidbox(() => [422, "error: {message: Invalid params}"]);
    expect(await call(aidbox)).toEqual({
      kind: "failed",
      failure: answered(Code.InvalidArgument, ErrorReason.UPSTREAM_REJECTED, 422, "Invalid params"),
    });
  });

  const wordless = [
    [413, "", undefined],
    [413, "error: {message: too large}", "too large"],
    [404, "error: {message: no such path}", "no such path"],
    [422, "", undefined],
  ] as const;

  test.each(explained.filter((each) => !isOutcome(each)))(
    "A-55 of $name that says nothing of the task asks nothing more",
    async ({ call }) => {
      for (const [status, body, said] of wordless) {
        const { aidbox, rpcs } = await useAidbox(() => [status, body]);
        expect(await call(aidbox)).toEqual({
          kind: "failed",
          failure: answered(Code.FailedPrecondition, ErrorReason.UPSTREAM_REJECTED, status, said),
        });
        expect(rpcs.length).toBe(1);
      }
    },
  );

  test.each(explained.filter(isOutcome))(
    "A-55 of $name that says nothing of the task keeps its words, whatever the task is",
    async (each) => {
      for (const [status, body, said] of wordless) {
        for (const [state, isTaskOpen] of [
          ["{status: in-progress, execId: e1}", true],
          ["{status: done, outcome: succeeded, execId: e1}", false],
          ["{status: in-progress, execId: e2}", false],
        ] as const) {
          const { aidbox, rpcs } = await useAidbox(({ method }) =>
            method === "awf.task/status" ? [200, `result: {resource: ${state}}`] : [status, body],
          );
          const failure = answered(Code.FailedPrecondition, ErrorReason.UPSTREAM_REJECTED, status, said);
          expect(await each.call(aidbox)).toEqual(refused(each, failure, isTaskOpen));
          expect(rpcs).toEqual([each.rpc, { method: "awf.task/status", params: { id: "t1" } }]);
        }
      }
    },
  );
});

describe("a refusal is explained by the task itself", () => {
  const refusal: Answer = [422, "error: {message: no}"];

  /** What a call is told when it is refused and the task is in that state. */
  async function explain(each: Call, found: Answer): Promise<{ result: AnyResult; rpcs: Rpc[] }> {
    const { aidbox, rpcs } = await useAidbox(({ method }) => (method === each.explainedBy ? found : refusal));
    return { result: await each.call(aidbox), rpcs };
  }

  const id = (each: Call) => (each.explainedBy === "awf.task/status" ? "t1" : "w1");

  test.each(explained)("A-58 A-64 $name asks for it once, and only by its id", async (each) => {
    const { rpcs } = await explain(each, [200, "result: {resource: {status: done, outcome: succeeded}}"]);
    expect(rpcs).toEqual([each.rpc, { method: each.explainedBy, params: { id: id(each) } }]);
  });

  test.each(explained)("A-43 A-58 A-64 $name learns that it has ended", async (each) => {
    for (const [state, code, reason] of [
      ["{status: done, outcome: succeeded, execId: e1}", Code.FailedPrecondition, ErrorReason.TASK_FINISHED],
      ["{status: done, outcome: failed, execId: e2}", Code.FailedPrecondition, ErrorReason.TASK_FINISHED],
      ["{status: done}", Code.FailedPrecondition, ErrorReason.TASK_FINISHED],
      ["{status: done, outcome: canceled}", Code.FailedPrecondition, ErrorReason.TASK_CANCELLED],
    ] as const) {
      const { result } = await explain(each, [200, `result: {resource: ${state}}`]);
      expect(result).toEqual(refused(each, answered(code, reason, 422, "no")));
    }
  });

  test.each(explained)("A-44 $name learns that it is unknown", async (each) => {
    for (const found of [
      [422, "error: {message: Resource not found}"],
      [404, "error: {message: Resource not found}"],
      [422, `error: {message: ${each.explainedBy === "awf.task/status" ? "Task" : "Workflow"} x not found}`],
    ] as const) {
      const { result } = await explain(each, found);
      expect(result).toEqual(refused(each, answered(Code.NotFound, ErrorReason.TASK_UNKNOWN, 422, "no")));
    }
  });

  test.each(explained.filter(({ name }) => !name.startsWith("cancel")))(
    "A-58 $name learns that its attempt is not the current one",
    async (each) => {
      for (const [state, reason] of [
        ["{status: in-progress, execId: e2}", ErrorReason.LEASE_SUPERSEDED],
        ["{status: requested, execId: e2}", ErrorReason.LEASE_SUPERSEDED],
        ["{status: in-progress}", ErrorReason.LEASE_SUPERSEDED],
        ["{status: ready}", ErrorReason.LEASE_EXPIRED],
        ["{status: waiting, execId: e1}", ErrorReason.LEASE_EXPIRED],
        ["{status: created}", ErrorReason.LEASE_EXPIRED],
      ] as const) {
        const { result } = await explain(each, [200, `result: {resource: ${state}}`]);
        expect(result).toEqual(refused(each, answered(Code.FailedPrecondition, reason, 422, "no")));
      }
    },
  );

  test.each(explained)("A-58 $name keeps the refusal where the state explains nothing", async (each) => {
    for (const [status, isTaskOpen] of [
      ["in-progress", true],
      ["requested", false],
    ] as const) {
      const { result } = await explain(each, [200, `result: {resource: {status: ${status}, execId: e1}}`]);
      const failure = answered(Code.FailedPrecondition, ErrorReason.UPSTREAM_REJECTED, 422, "no");
      expect(result).toEqual(refused(each, failure, isTaskOpen));
    }
  });

  test.each(explained)("A-58 $name keeps the refusal where the state cannot be had", async (each) => {
    const found: readonly Answer[] = [
      [500, ""],
      [503, ""],
      [403, ""],
      [422, "error: {message: Invalid params}"],
      [404, "error: {type: not-found}"],
      [404, ""],
      [200, "result: {}"],
      [200, "result: {resource: null}"],
      [200, "result: {resource: done}"],
      [200, "result: {resource: []}"],
      [200, "<html>"],
      "break",
    ];
    for (const answer of found) {
      const { result } = await explain(each, answer);
      const failure = answered(Code.FailedPrecondition, ErrorReason.UPSTREAM_REJECTED, 422, "no");
      expect(result).toEqual(refused(each, failure, false));
    }
  });

  test("A-45 a refusal for its parameters keeps its code where the state explains nothing", async () => {
    const { aidbox } = await useAidbox(({ method }) =>
      method === "awf.task/status"
        ? [200, "result: {resource: {status: requested, execId: e1}}"]
        : [422, "error: {message: Invalid params}"],
    );
    expect(await aidbox.start(attempt)).toEqual({
      kind: "failed",
      failure: answered(Code.InvalidArgument, ErrorReason.UPSTREAM_REJECTED, 422, "Invalid params"),
    });
  });
});

describe("an outcome", () => {
  test.each([
    [
      "A-15 a success",
      "success",
      '{"b" : 1e3}',
      '{"method": "awf.task/success", "params": {"id": "t1", "execId": "e1", "result": {"b": 1.0e+3}}}',
    ],
    [
      "A-15 a success without a result",
      "success",
      undefined,
      '{"method": "awf.task/success", "params": {"id": "t1", "execId": "e1"}}',
    ],
    [
      "A-16 a decision that does nothing",
      "success",
      "[]",
      '{"method": "awf.task/success", "params": {"id": "t1", "execId": "e1", "result": []}}',
    ],
    [
      "A-17 a failure",
      "fail",
      '"broke"',
      '{"method": "awf.task/fail", "params": {"id": "t1", "execId": "e1", "error": "broke"}}',
    ],
    [
      "A-17 a failure without an error",
      "fail",
      undefined,
      '{"method": "awf.task/fail", "params": {"id": "t1", "execId": "e1"}}',
    ],
  ] as const)("%s leaves as a delivery of its own attempt", (_, verb, json, body) => {
    expect(prepareTaskOutcome({ ...attempt, verb, json })).toEqual({
      upstream: "aidbox",
      lane: "aidbox",
      key: "t1/e1",
      taskId: "t1",
      attempt: "e1",
      kind: "outcome",
      outcomeTag: verb,
      target: `awf.task/${verb}`,
      body,
    });
  });

  test("A-50 of the next attempt has another key", () => {
    const keys = ["e1", "e2"].map(
      (execId) => prepareTaskOutcome({ id: "t1", execId, verb: "fail", json: undefined }).key,
    );
    expect(keys).toEqual(["t1/e1", "t1/e2"]);
  });

  test.each<[what: string, answer: Answer, kind: AttemptResult["kind"]]>([
    ["A-59 a refusal", [422, "error: {message: no}"], "rejected"],
    ["A-46 refused credentials", [401, ""], "unauthorized"],
    ["A-56 an overload", [429, ""], "unavailable"],
    ["A-57 a server's error", [500, ""], "inDoubt"],
    ["A-48 an answer of no form", [200, "<html>"], "inDoubt"],
    ["A-57 a broken connection", "break", "inDoubt"],
  ])("after %s is what the outbox needs to know", async (_, answer, kind) => {
    const { aidbox } = await useAidbox(() => answer);
    const delivery = sent(prepareTaskOutcome({ ...attempt, verb: "success", json: "1" }));
    expect((await aidbox.send(delivery)).kind).toBe(kind);
  });
});

describe("an outcome that is refused", () => {
  test.each<[what: string, refusal: Answer, state: string, isTaskOpen: boolean]>([
    [
      "A-45 with an error of Aidbox's",
      [422, "error: {message: no}"],
      "status: in-progress, execId: e1",
      true,
    ],
    [
      "A-45 while another attempt is open",
      [200, "error: {message: no}"],
      "status: in-progress, execId: e1x",
      false,
    ],
    ["A-55 without one", [413, ""], "status: in-progress, execId: e1", true],
    ["A-55 without one, behind its end", [413, ""], "status: done, execId: e1", false],
  ])("asks how its task is once: %s", async (_, refusal, state, isTaskOpen) => {
    const { aidbox, rpcs } = await useAidbox(({ method }) =>
      method === "awf.task/status" ? [200, `result: {resource: {id: t1, ${state}}}`] : refusal,
    );
    const prepared = prepareTaskOutcome({ ...attempt, verb: "success", json: undefined });
    const result = await aidbox.send(sent(prepared));
    expect("isTaskOpen" in result && result.isTaskOpen === true).toBe(isTaskOpen);
    expect(rpcs.map((rpc) => (rpc as { method: string }).method)).toEqual([
      "awf.task/success",
      "awf.task/status",
    ]);
  });
});

describe("an outcome that may have been taken before", () => {
  type Verb = "success" | "fail";

  /** What is made of an outcome in doubt when its task is found so, and Aidbox would take it. */
  async function sendAgain(verb: Verb, found: Answer): Promise<{ result: AttemptResult; rpcs: unknown[] }> {
    const { aidbox, rpcs } = await useAidbox(({ method }) =>
      method === "awf.task/status" ? found : [200, "result: {resource: {id: t1, status: done}}"],
    );
    const prepared = prepareTaskOutcome({ ...attempt, verb, json: undefined });
    const result = await aidbox.send(sent(prepared, true));
    expect(rpcs[0]).toEqual({ method: "awf.task/status", params: { id: "t1" } });
    return { result, rpcs: rpcs.slice(1) };
  }

  const inState = (state: string): Answer => [200, `result: {resource: {id: t1, ${state}}}`];

  test.each<Verb>(["success", "fail"])(
    "A-19 A-57 is sent again while its task is in progress: %s",
    async (verb) => {
      const { result, rpcs } = await sendAgain(verb, inState("status: in-progress, execId: e1"));
      expect(result).toEqual({ kind: "accepted", answer: '{"id":"t1","status":"done"}' });
      expect(rpcs).toEqual([{ method: `awf.task/${verb}`, params: attempt }]);
    },
  );

  test.each<[verb: Verb, outcome: string]>([
    ["success", "succeeded"],
    ["fail", "failed"],
  ])("A-19 A-57 was taken where the task has ended with it: %s, %s", async (verb, outcome) => {
    const { result, rpcs } = await sendAgain(verb, inState(`status: done, outcome: ${outcome}, execId: e1`));
    expect(result).toEqual({
      kind: "accepted",
      answer: `{"id":"t1","status":"done","outcome":"${outcome}","execId":"e1"}`,
    });
    expect(rpcs).toEqual([]);
  });

  test.each<[verb: Verb, state: string]>([
    ["success", "status: done, outcome: failed, execId: e1"],
    ["fail", "status: done, outcome: succeeded, execId: e1"],
    ["fail", "status: done, outcome: canceled, execId: e1"],
    ["success", "status: done, outcome: succeeded, execId: e2"],
    ["success", "status: in-progress, execId: e2"],
    ["fail", "status: requested, execId: e2"],
  ])("A-19 A-57 is refused where another attempt or another outcome stands: %s, %s", async (verb, state) => {
    const { result, rpcs } = await sendAgain(verb, inState(state));
    expect(result).toEqual({
      kind: "rejected",
      failure: expectedFailure(
        Code.FailedPrecondition,
        ErrorReason.LEASE_SUPERSEDED,
        "aidbox holds another attempt or another outcome of the task",
        { upstream: "aidbox" },
      ),
    });
    expect(rpcs).toEqual([]);
  });

  const unsettled: readonly (readonly [verb: Verb, state: string, status: string])[] = [
    ["success", "status: requested, execId: e1", "requested"],
    ["fail", "status: waiting, execId: e1", "waiting"],
    ["fail", "status: odd, execId: e1", "odd"],
  ];
  const unsettledWithoutAttempt: typeof unsettled = [
    ["fail", "status: waiting", "waiting"],
    ["fail", "status: ready", "ready"],
    ["success", "status: done, outcome: succeeded", "done"],
  ];

  async function expectUnsettled(verb: Verb, state: string, status: string): Promise<void> {
    const { result, rpcs } = await sendAgain(verb, inState(state));
    expect(result).toEqual({
      kind: "unconfirmed",
      failure: expectedFailure(
        Code.Unknown,
        ErrorReason.UPSTREAM_UNCERTAIN,
        `the task is ${status}, which does not tell whether aidbox took the outcome`,
        { upstream: "aidbox" },
      ),
    });
    expect(rpcs).toEqual([]);
  }

  test.each(unsettled)("A-19 A-57 is left open where the task's state says neither: %s, %s", expectUnsettled);

  test.each(unsettledWithoutAttempt)(
    "A-19 A-50 A-57 is left open where the task holds no attempt at all: %s, %s",
    expectUnsettled,
  );

  test("A-44 is left open where the task is unknown", async () => {
    const { result, rpcs } = await sendAgain("success", [422, "error: {message: Resource not found}"]);
    expect(result).toEqual({
      kind: "unconfirmed",
      failure: answered(Code.Unknown, ErrorReason.UPSTREAM_UNCERTAIN, 422, "Resource not found"),
    });
    expect(rpcs).toEqual([]);
  });

  test.each<[what: string, found: Answer, kind: AttemptResult["kind"]]>([
    ["A-57 a server's error", [500, ""], "unavailable"],
    ["A-56 an overload", [503, ""], "unavailable"],
    ["A-48 an answer of no form", [200, "<html>"], "unavailable"],
    ["A-57 a broken connection", "break", "unavailable"],
    ["a refusal that says nothing", [422, "error: {message: no}"], "unavailable"],
    ["A-46 refused credentials", [403, ""], "unauthorized"],
  ])("is not sent while the task's state cannot be had: %s", async (_, found, kind) => {
    const { result, rpcs } = await sendAgain("success", found);
    expect(result.kind).toBe(kind);
    expect(rpcs).toEqual([]);
  });
});
