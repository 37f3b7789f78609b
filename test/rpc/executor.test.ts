import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import { ExecutorService, ListOrder } from "../../gen/taskgate/v1/executor_pb.ts";
import { DeliveryState, WaitFor } from "../../gen/taskgate/v1/receipt_pb.ts";
import { Directive } from "../../gen/taskgate/v1/session_pb.ts";
import { type Caller, type TestClient, testClients } from "../support/clients.ts";
import { receiptLine, troubled } from "../support/deliveries.ts";
import { type ScriptedServer, useScriptedServer } from "../support/scripted-server.ts";
import { useGateway } from "../support/use-gateway.ts";

const rpc = ExecutorService.method;
const attempt = { id: "task-1", execId: "exec-1" };

/** An answer: a status and YAML. */
type Answer = readonly [status: number, yaml: string];

const task = `
result:
  resource:
    execId: exec-1
    params: {type: aidbox, count: 12345678901234567890}
    status: in-progress
    executeAt: '2023-05-04T15:30:43'
    definition: aidbox.bulk/import-resource-task
    pool: awf.executor/aidbox-long-tasks-pool2
    id: >-
      task-1
    retryCount: 1
    resourceType: AidboxTask
    meta: {lastUpdated: '2023-05-04T16:33:14.682354Z', versionId: '17633'}
`;

async function useAidbox(
  client: TestClient,
  answers: readonly Answer[],
  env: Record<string, string> = {},
): Promise<{ caller: Caller; upstream: ScriptedServer; rpcs: () => unknown[] }> {
  const upstream = await useScriptedServer((_, response, index) => {
    const [status, yaml] = answers[Math.min(index, answers.length - 1)] ?? [500, ""];
    response.writeHead(status, { "content-type": "text/yaml" });
    response.end(yaml);
  });
  const { url } = await useGateway({
    TASKGATE_AIDBOX_URL: `${upstream.origin}/box`,
    TASKGATE_AIDBOX_CLIENT_ID: "me",
    TASKGATE_AIDBOX_CLIENT_SECRET: "secret",
    TASKGATE_FAST_LANE: String(client.fastLane),
    ...env,
  });
  return {
    caller: client.connect(url),
    upstream,
    rpcs: () => upstream.seen.map(({ body }) => parse(body, { version: "1.1" })),
  };
}

describe.each(testClients)("ExecutorService over $name", (client) => {
  test("A-01 A-02 A-10 A-40 A-52 A-53 A-54 polled tasks keep everything that Aidbox said", async () => {
    const resources = task.replace("resource:", "resources:\n    -").replace(/^ {4}(?! {4}-)/gm, "      ");
    const { caller, upstream, rpcs } = await useAidbox(client, [
      [200, resources.replace("      -\n", "    -\n")],
    ]);
    const { tasks } = await caller.call(rpc.pollTasks, {
      taskDefinitions: ["aidbox.bulk/import-resource-task"],
      maxBatchSize: 3,
    });
    expect(upstream.seen).toMatchObject([
      {
        method: "POST",
        url: "/box/rpc",
        headers: {
          "content-type": "text/yaml",
          accept: "text/yaml",
          authorization: `Basic ${btoa("me:secret")}`,
        },
      },
    ]);
    expect(rpcs()).toEqual([
      {
        method: "awf.task/poll",
        params: { taskDefinitions: ["aidbox.bulk/import-resource-task"], maxBatchSize: 3 },
      },
    ]);
    expect(tasks).toMatchObject([
      {
        id: "task-1",
        execId: "exec-1",
        definition: "aidbox.bulk/import-resource-task",
        status: "in-progress",
        executeTime: "2023-05-04T15:30:43",
        retryCount: 1,
      },
    ]);
    expect(tasks[0]?.resourceJson).toContain('"count":12345678901234567890');
    expect(tasks[0]?.resourceJson).toContain('"pool":"awf.executor/aidbox-long-tasks-pool2"');
    expect(tasks[0]?.resourceJson).toContain('"versionId":"17633"');
    expect(tasks[0]?.decision).toBeUndefined();
  });

  test("A-49 no tasks are an empty list, and a poll without a definition is refused", async () => {
    const { caller, upstream } = await useAidbox(client, [[200, "result: {resources: []}"]]);
    expect((await caller.call(rpc.pollTasks, { workflowDefinitions: ["a/b"] })).tasks).toEqual([]);
    expect(await caller.fail(rpc.pollTasks, { maxBatchSize: -1 })).toMatchObject({
      code: Code.InvalidArgument,
      violations: {
        task_definitions: "is required unless workflow_definitions is set",
        max_batch_size: "must not be negative",
      },
    });
    expect(await caller.fail(rpc.longPollTasks, { taskDefinitions: ["a/b", ""] })).toMatchObject({
      violations: { "task_definitions[1]": "is required" },
    });
    expect(
      await caller.fail(rpc.longPollTasks, {
        taskDefinitions: ["a/b"],
        timeout: { seconds: -1n, nanos: 0 },
      }),
    ).toMatchObject({ violations: { timeout: "must not be negative" } });
    expect(upstream.seen).toHaveLength(1);
  });

  test("A-11 a long-poll lets Aidbox give up before the caller does", async () => {
    const { caller, rpcs } = await useAidbox(client, [[200, "result: {resources: []}"]]);
    await caller.call(rpc.longPollTasks, { taskDefinitions: ["a/b"] });
    await caller.call(rpc.longPollTasks, {
      taskDefinitions: ["a/b"],
      timeout: { seconds: 5n, nanos: 0 },
    });
    await caller.call(
      rpc.longPollTasks,
      { taskDefinitions: ["a/b"], timeout: { seconds: 50n, nanos: 0 } },
      { timeoutMs: 4000 },
    );
    const timeouts = (rpcs() as { params: { timeout: number } }[]).map(({ params }) => params.timeout);
    expect(timeouts.slice(0, 2)).toEqual([60_000, 5000]);
    expect(timeouts[2]).toBeGreaterThan(3000);
    expect(timeouts[2]).toBeLessThanOrEqual(3600);
  });

  test("A-12 a task is started, and Aidbox's answer comes back", async () => {
    const { caller, rpcs } = await useAidbox(client, [[200, task]]);
    const { task: started } = await caller.call(rpc.startTask, attempt);
    expect(started).toMatchObject({ id: "task-1", status: "in-progress", retryCount: 1 });
    expect(rpcs()).toEqual([{ method: "awf.task/start", params: { id: "task-1", execId: "exec-1" } }]);
  });

  test("A-13 A-51 a heartbeat tells when the lease ends and when to beat again", async () => {
    const at = new Date(Date.now() + 3000).toISOString();
    const { caller, rpcs } = await useAidbox(client, [
      [200, `result: {inProgressTimeoutAt: '${at}'}`],
      [200, `result: {inProgressTimeoutAt: ${Date.parse(at)}}`],
    ]);
    const first = await caller.call(rpc.heartbeatTask, attempt);
    expect(first).toMatchObject({ directive: Directive.CONTINUE, cause: ErrorReason.UNSPECIFIED });
    expect(Number(first.leaseExpireTime?.seconds)).toBe(Math.floor(Date.parse(at) / 1000));
    const nextMs = Number(first.nextHeartbeat?.seconds) * 1000 + (first.nextHeartbeat?.nanos ?? 0) / 1e6;
    expect(nextMs).toBeLessThanOrEqual(1000);
    expect(nextMs).toBeGreaterThanOrEqual(500);
    const soon = await caller.call(rpc.heartbeatTask, attempt);
    expect(soon.leaseExpireTime).toEqual(first.leaseExpireTime);
    const second = await caller.call(rpc.heartbeatTask, { ...attempt, message: "alive: yes" });
    expect(second.leaseExpireTime).toEqual(first.leaseExpireTime);
    expect(rpcs()).toEqual([
      {
        method: "awf.task/notify",
        params: { id: "task-1", execId: "exec-1", notification: "awf.task/heartbeat" },
      },
      {
        method: "awf.task/notify",
        params: { id: "task-1", execId: "exec-1", notification: "awf.task/heartbeat", message: "alive: yes" },
      },
    ]);
  });

  test("A-04 A-14 a progress has the three kebab-case keys, and its zero counts", async () => {
    const { caller, upstream } = await useAidbox(client, [[200, "result: {}"]]);
    await caller.call(rpc.reportTaskProgress, {
      ...attempt,
      current: 0n,
      total: 2n ** 53n + 1n,
      unit: "rows",
    });
    expect(await caller.fail(rpc.reportTaskProgress, attempt)).toMatchObject({
      violations: { current: "is required" },
    });
    expect(upstream.seen.map(({ body }) => body)).toEqual([
      '{"method": "awf.task/notify", "params": {"id": "task-1", "execId": "exec-1", "notification": "awf.task/progress", "progress-current": 0, "progress-total": 9007199254740993, "progress-unit": "rows"}}',
    ]);
  });

  test("A-58 a heartbeat after the end is told to stop, and why", async () => {
    const refused: Answer = [422, "error: {type: awf.task/wrong-state, message: no}"];
    const states: [yaml: string, cause: ErrorReason][] = [
      ["{status: done, outcome: succeeded, execId: exec-1}", ErrorReason.TASK_FINISHED],
      ["{status: done, outcome: canceled}", ErrorReason.TASK_CANCELLED],
      ["{status: in-progress, execId: exec-2}", ErrorReason.LEASE_SUPERSEDED],
      ["{status: requested, execId: exec-2}", ErrorReason.LEASE_SUPERSEDED],
      ["{status: ready}", ErrorReason.LEASE_EXPIRED],
      ["{status: waiting, execId: exec-1}", ErrorReason.LEASE_EXPIRED],
    ];
    const { caller, rpcs } = await useAidbox(
      client,
      states.flatMap(([state]): Answer[] => [refused, [200, `result: {resource: ${state}}`]]),
    );
    for (const [state, cause] of states) {
      const answer = await caller.call(rpc.heartbeatTask, attempt);
      expect([state, answer.directive, answer.cause]).toEqual([state, Directive.CANCEL, cause]);
    }
    expect(rpcs()[1]).toEqual({ method: "awf.task/status", params: { id: "task-1" } });
  });

  test("A-58 a start that is refused says why, by the task's own state", async () => {
    const { caller } = await useAidbox(client, [
      [422, "error: {type: awf.task/stale, message: 'no'}"],
      [200, "result: {resource: {status: in-progress, execId: exec-2}}"],
      [422, "error: {type: awf.task/odd, message: odd}"],
      [200, "result: {resource: {status: requested, execId: exec-1}}"],
      [422, "error: {message: Resource not found}"],
      [422, "error: {message: Resource not found}"],
    ]);
    expect(await caller.fail(rpc.startTask, attempt)).toMatchObject({
      code: Code.FailedPrecondition,
      reason: "LEASE_SUPERSEDED",
      metadata: { upstream: "aidbox", http_status: "422", upstream_type: "awf.task/stale" },
    });
    expect(await caller.fail(rpc.startTask, attempt)).toMatchObject({
      code: Code.FailedPrecondition,
      reason: "UPSTREAM_REJECTED",
      message: "aidbox answered 422: odd",
    });
    expect(await caller.fail(rpc.startTask, attempt)).toMatchObject({
      code: Code.NotFound,
      reason: "TASK_UNKNOWN",
    });
  });

  test("A-15 A-05 a success carries any JSON value, or none", async () => {
    const done = "result: {resource: {id: task-1, status: done, outcome: succeeded}}";
    const { caller, upstream, rpcs } = await useAidbox(client, [[200, done]]);
    const answer = await caller.call(rpc.succeedTask, {
      ...attempt,
      outcome: { case: "result", value: { kind: { case: "stringValue", value: "2021-10-25" } } },
    });
    expect(answer).toMatchObject({
      receipt: { state: DeliveryState.DELIVERED },
      task: { id: "task-1", status: "done", outcome: "succeeded" },
    });
    await caller.call(rpc.succeedTask, { id: "task-1", execId: "exec-2" });
    await caller.call(rpc.succeedTask, {
      id: "task-1",
      execId: "exec-3",
      outcome: { case: "resultJson", value: '[1, {"big": 12345678901234567890}]' },
    });
    expect(rpcs().slice(0, 2)).toEqual([
      { method: "awf.task/success", params: { id: "task-1", execId: "exec-1", result: "2021-10-25" } },
      { method: "awf.task/success", params: { id: "task-1", execId: "exec-2" } },
    ]);
    expect(upstream.seen[2]?.body).toContain('"result": [1, {"big": 12345678901234567890}]');
  });

  test("A-16 A-26 a decision is an array of actions, and an empty one is a decision, too", async () => {
    const { caller, rpcs } = await useAidbox(client, [[200, "result: {resource: {id: task-1}}"]]);
    await caller.call(rpc.succeedTask, {
      ...attempt,
      outcome: {
        case: "actions",
        value: {
          actions: [
            {
              action: {
                case: "scheduleTask",
                value: {
                  definition: "a/b",
                  label: "first",
                  input: { case: "paramsJson", value: '{"x":1}' },
                },
              },
            },
            { action: { case: "scheduleWorkflow", value: { definition: "c/d" } } },
            { action: { case: "doNothing", value: {} } },
            {
              action: {
                case: "completeWorkflow",
                value: {
                  outcome: { case: "result", value: { kind: { case: "boolValue", value: true } } },
                },
              },
            },
            {
              action: { case: "failWorkflow", value: { reason: { case: "errorJson", value: '{"m":"no"}' } } },
            },
            { action: { case: "unknownError", value: {} } },
          ],
        },
      },
    });
    const other = { id: "task-1", execId: "exec-2" };
    await caller.call(rpc.succeedTask, { ...other, outcome: { case: "actions", value: {} } });
    const results = (rpcs() as { params: { result: unknown } }[]).map(({ params }) => params.result);
    expect(results).toEqual([
      [
        {
          action: "awf.workflow.action/schedule-task",
          "task-request": { definition: "a/b", label: "first", params: { x: 1 } },
        },
        {
          action: "awf.workflow.action/schedule-workflow",
          "task-request": { definition: "c/d", params: {} },
        },
        { action: "awf.workflow.action/do-nothing" },
        { action: "awf.workflow.action/complete-workflow", result: true },
        { action: "awf.workflow.action/fail", error: { m: "no" } },
        { action: "awf.workflow.action/unknown-error" },
      ],
      [],
    ]);
    expect(
      await caller.fail(rpc.succeedTask, {
        ...attempt,
        outcome: {
          case: "actions",
          value: {
            actions: [
              { action: { case: undefined } },
              {
                action: {
                  case: "scheduleTask",
                  value: { input: { case: "paramsJson", value: "[]" } },
                },
              },
            ],
          },
        },
      }),
    ).toMatchObject({
      violations: {
        "actions.actions[0]": "has no action",
        "actions.actions[1].schedule_task.definition": "is required",
        "actions.actions[1].schedule_task.params_json": "must be a JSON object",
      },
    });
  });

  test("A-17 A-50 a failure is sent as error, and an attempt that is left is no outcome", async () => {
    const { caller, rpcs } = await useAidbox(client, [
      [200, "result: {resource: {id: task-1, status: waiting, retryCount: 1}}"],
    ]);
    const answer = await caller.call(rpc.failTask, {
      ...attempt,
      reason: { case: "errorJson", value: '{"message":"broke"}' },
    });
    expect(answer.task).toMatchObject({ status: "waiting", outcome: "" });
    expect(rpcs()).toEqual([
      {
        method: "awf.task/fail",
        params: { id: "task-1", execId: "exec-1", error: { message: "broke" } },
      },
    ]);
  });

  test("A-15 A-17 an outcome that Aidbox did not take is stored, and answered with its failure", async () => {
    const { caller, upstream } = await useAidbox(client, [[503, ""]], { TASKGATE_DRAIN_TIMEOUT: "100ms" });
    const unavailable = "STORED Unavailable UPSTREAM_UNAVAILABLE aidbox answered 503";
    const { receipt, task } = await caller.call(rpc.succeedTask, attempt, { timeoutMs: 2000 });
    expect([receiptLine(receipt), task]).toEqual([unavailable, undefined]);
    const other = { id: "task-2", execId: "exec-1", waitFor: WaitFor.STORED };
    const failed = await caller.call(rpc.failTask, other);
    expect([receiptLine(failed.receipt), failed.task]).toEqual(["STORED", undefined]);
    expect(receiptLine(await troubled(caller, failed.receipt))).toBe(unavailable);
    expect(upstream.seen.length).toBeGreaterThanOrEqual(2);
  });

  test("A-18 A-22 creating always sends an id, the caller's, one from the request id, or a new one", async () => {
    const { caller, rpcs } = await useAidbox(client, [[200, "result: {resource: {id: x, status: ready}}"]]);
    await caller.call(rpc.createTask, {
      definition: "a/b",
      id: "mine",
      label: "l",
      executeTime: "2023-05-03T13:30:43",
      input: { case: "paramsJson", value: '{"day":"2021-10-25"}' },
    });
    await caller.call(rpc.createTask, { definition: "a/b", requestId: "r1" });
    await caller.call(rpc.createTask, { definition: "a/b", requestId: "r1" });
    await caller.call(rpc.createTask, { definition: "a/b", requestId: "r2" });
    await caller.call(rpc.createWorkflow, { definition: "a/b", requestId: "r1" });
    await caller.call(rpc.createTask, { definition: "a/b" });
    const sent = rpcs() as { method: string; params: Record<string, unknown> }[];
    expect(sent[0]).toEqual({
      method: "awf.task/create-and-execute",
      params: {
        id: "mine",
        definition: "a/b",
        params: { day: "2021-10-25" },
        label: "l",
        executeAt: "2023-05-03T13:30:43",
      },
    });
    expect(sent[4]).toMatchObject({ method: "awf.workflow/create-and-execute", params: { params: {} } });
    const ids = sent.slice(1).map(({ params }) => params.id);
    expect(ids[0]).toBe(ids[1]);
    expect(new Set(ids).size).toBe(4);
    for (const id of ids) {
      expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-[48][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    }
  });

  test("a create that is in doubt names the id to ask for", async () => {
    const { caller } = await useAidbox(client, [[500, "broken"]]);
    const error = await caller.fail(rpc.createTask, { definition: "a/b" });
    expect(error).toMatchObject({ code: Code.Unknown, reason: "UPSTREAM_UNCERTAIN" });
    expect(error.metadata.task_id).toMatch(/^[0-9a-f-]{36}$/);
    expect(await caller.fail(rpc.createWorkflow, { definition: "a/b", id: "w" })).toMatchObject({
      metadata: { workflow_id: "w" },
    });
  });

  test("bad creations are refused, by field", async () => {
    const { caller, upstream } = await useAidbox(client, [[500, ""]]);
    expect(
      await caller.fail(rpc.createTask, {
        executeTime: "tomorrow",
        id: "\u0000",
        input: { case: "params", value: { kind: { case: "numberValue", value: 1 } } },
      }),
    ).toMatchObject({
      code: Code.InvalidArgument,
      violations: {
        definition: "is required",
        execute_time: "must be YYYY-MM-DDThh:mm:ss, with or without a zone",
        id: "contains U+0000, which the upstream cannot store",
        params: "must be a JSON object",
      },
    });
    expect(upstream.seen).toEqual([]);
  });

  test("A-19 A-61 A-62 a task comes with its log and its settings", async () => {
    const { caller, rpcs } = await useAidbox(client, [
      [
        200,
        `result:
  resource: {id: task-1, status: done, outcome: failed, outcomeReason: {type: awf.task/failed-by-executor, message: Failed by executor}, error: {code: 7}}
  settings: {inProgressTimeout: 120000, unknown?: [1]}
  log:
    - {action: notify, action-params: {progress-current: 1}, status-before: in-progress, status-after: in-progress}
`,
      ],
    ]);
    const found = await caller.call(rpc.getTask, { id: "task-1", includeSettings: true, includeLog: true });
    expect(found).toMatchObject({
      task: { id: "task-1", status: "done", outcome: "failed" },
      settingsJson: '{"inProgressTimeout":120000,"unknown?":[1]}',
      log: [{ action: "notify", statusBefore: "in-progress", statusAfter: "in-progress" }],
    });
    expect(rpcs()).toEqual([
      {
        method: "awf.task/status",
        params: { id: "task-1", "include-settings?": true, "include-log?": true },
      },
    ]);
  });

  test("A-44 an unknown task is not found", async () => {
    const { caller } = await useAidbox(client, [[422, "error: {message: Resource not found}"]]);
    const errors = [
      await caller.fail(rpc.getTask, { id: "x" }),
      await caller.fail(rpc.getWorkflow, { id: "x" }),
      await caller.fail(rpc.cancelTask, { id: "x" }),
      await caller.fail(rpc.cancelWorkflow, { id: "x" }),
    ];
    expect(errors.map(({ code, reason }) => [Code[code], reason])).toEqual(
      errors.map(() => ["NotFound", "TASK_UNKNOWN"]),
    );
  });

  test("A-20 A-24 A-43 A-64 cancelling what has ended says how it ended", async () => {
    const { caller, rpcs } = await useAidbox(client, [
      [200, "result: {resource: {id: t, status: done, outcome: canceled}}"],
      [200, "result: {resource: {id: w, status: done, outcome: canceled}}"],
      [
        422,
        "error: {type: workflow-has-been-done, message: \"Workflow id:'w' has already been done. Couldn't cancel it.\"}",
      ],
      [200, "result: {resource: {id: w, status: done, outcome: succeeded}}"],
      [422, "error: {type: whatever, message: no}"],
      [200, "result: {resource: {id: t, status: done, outcome: canceled}}"],
    ]);
    expect((await caller.call(rpc.cancelTask, { id: "t" })).task).toMatchObject({ outcome: "canceled" });
    expect((await caller.call(rpc.cancelWorkflow, { id: "w" })).workflow).toMatchObject({
      outcome: "canceled",
    });
    expect(await caller.fail(rpc.cancelWorkflow, { id: "w" })).toMatchObject({
      code: Code.FailedPrecondition,
      reason: "TASK_FINISHED",
    });
    expect(await caller.fail(rpc.cancelTask, { id: "t" })).toMatchObject({
      code: Code.FailedPrecondition,
      reason: "TASK_CANCELLED",
    });
    expect(rpcs()).toEqual([
      { method: "awf.task/cancel", params: { id: "t" } },
      { method: "awf.workflow/cancel", params: { id: "w" } },
      { method: "awf.workflow/cancel", params: { id: "w" } },
      { method: "awf.workflow/status", params: { id: "w" } },
      { method: "awf.task/cancel", params: { id: "t" } },
      { method: "awf.task/status", params: { id: "t" } },
    ]);
  });

  test("A-21 A-25 lists are filtered and sorted as asked", async () => {
    const { caller, rpcs } = await useAidbox(client, [[200, "result: {resources: [{id: a}, {id: b}]}"]]);
    const { tasks } = await caller.call(rpc.listTasks, {
      includeDefinitions: ["a/b"],
      excludeDefinitions: ["c/d"],
      status: "done",
      outcome: "failed",
      ilike: "x",
      order: ListOrder.UPDATE_TIME_DESC,
    });
    expect(tasks).toMatchObject([{ id: "a" }, { id: "b" }]);
    await caller.call(rpc.listTasks, {});
    await caller.call(rpc.listWorkflows, { status: "in-progress", order: ListOrder.CREATE_TIME_ASC });
    expect(rpcs()).toEqual([
      {
        method: "awf.task/list",
        params: {
          filter: {
            includeDefinitions: ["a/b"],
            excludeDefinitions: ["c/d"],
            status: "done",
            outcome: "failed",
            ilike: "x",
          },
          sort: { lastUpdated: "desc" },
        },
      },
      { method: "awf.task/list", params: {} },
      {
        method: "awf.workflow/list",
        params: { filter: { status: "in-progress" }, sort: { createdAt: "asc" } },
      },
    ]);
    expect(await caller.fail(rpc.listTasks, { order: 99 as ListOrder })).toMatchObject({
      violations: { order: "is 99, which is not a member of the enum" },
    });
  });

  test("A-23 A-60 a workflow comes with its activities and decisions", async () => {
    const decision =
      "{id: d, definition: awf.workflow/decision-task, workflow-definition: a/wf, requester: {id: w, resourceType: AidboxWorkflow}, params: {event: awf.workflow.event/task-completed, task-id: t}}";
    const { caller } = await useAidbox(client, [
      [
        200,
        `result: {resource: {id: w, status: in-progress}, activities: [{id: t}, {id: c, resourceType: AidboxWorkflow}], decisions: [${decision}]}`,
      ],
    ]);
    const found = await caller.call(rpc.getWorkflow, {
      id: "w",
      includeActivities: true,
      includeDecisions: true,
    });
    expect(found).toMatchObject({
      workflow: { id: "w", status: "in-progress" },
      activities: [
        { activity: { case: "task", value: { id: "t" } } },
        { activity: { case: "workflow", value: { id: "c" } } },
      ],
      decisions: [
        {
          id: "d",
          decision: {
            workflowId: "w",
            workflowDefinition: "a/wf",
            event: "awf.workflow.event/task-completed",
            taskId: "t",
            childWorkflowId: "",
          },
        },
      ],
    });
  });

  test("A-42 A-45 A-46 A-47 A-48 A-56 A-57 answers have their code and reason", async () => {
    const outcomes: [Answer, readMeans: string, changeMeans: string][] = [
      [
        [200, "error: {message: Invalid params, method: x, errors: [{message: id is required, type: k}]}"],
        "InvalidArgument UPSTREAM_REJECTED",
        "InvalidArgument UPSTREAM_REJECTED",
      ],
      [
        [403, "{resourceType: OperationOutcome, issue: [{diagnostics: Forbidden}]}"],
        "FailedPrecondition UPSTREAM_AUTH",
        "FailedPrecondition UPSTREAM_AUTH",
      ],
      [
        [422, "error: just text"],
        "FailedPrecondition UPSTREAM_REJECTED",
        "FailedPrecondition UPSTREAM_REJECTED",
      ],
      [
        [200, "<html><body>hi</body></html>"],
        "Unavailable UPSTREAM_UNAVAILABLE",
        "Unknown UPSTREAM_UNCERTAIN",
      ],
      [[200, "result: {unexpected: 1}"], "Unavailable UPSTREAM_UNAVAILABLE", "Unknown UPSTREAM_UNCERTAIN"],
      [[200, "a: &a [x]\nresult: *a"], "Unavailable UPSTREAM_UNAVAILABLE", "Unknown UPSTREAM_UNCERTAIN"],
      [
        [200, `result: ${"[".repeat(5000)}`],
        "Unavailable UPSTREAM_UNAVAILABLE",
        "Unknown UPSTREAM_UNCERTAIN",
      ],
      [[503, ""], "Unavailable UPSTREAM_UNAVAILABLE", "Unavailable UPSTREAM_UNAVAILABLE"],
      [[429, ""], "Unavailable UPSTREAM_UNAVAILABLE", "Unavailable UPSTREAM_UNAVAILABLE"],
      [[500, ""], "Unavailable UPSTREAM_UNAVAILABLE", "Unknown UPSTREAM_UNCERTAIN"],
      [[502, "<html>"], "Unavailable UPSTREAM_UNAVAILABLE", "Unknown UPSTREAM_UNCERTAIN"],
    ];
    const { caller } = await useAidbox(
      client,
      outcomes.flatMap(([answer]) => [answer, answer]),
    );
    const seen = [];
    for (const [answer] of outcomes) {
      const read = await caller.fail(rpc.listTasks, {});
      const change = await caller.fail(rpc.createTask, { definition: "a/b" });
      seen.push([answer, `${Code[read.code]} ${read.reason}`, `${Code[change.code]} ${change.reason}`]);
    }
    expect(seen).toEqual(outcomes);
  });

  test("without Aidbox the error says what to set", async () => {
    const { url } = await useGateway({ TASKGATE_FAST_LANE: String(client.fastLane) });
    const caller = client.connect(url);
    const errors = [
      await caller.fail(rpc.startTask, {}),
      await caller.fail(rpc.succeedTask, {}),
      await caller.fail(rpc.getTask, {}),
      await caller.fail(rpc.createWorkflow, {}),
    ];
    for (const error of errors) {
      expect(error).toMatchObject({
        code: Code.FailedPrecondition,
        reason: "UPSTREAM_NOT_CONFIGURED",
        message: "the gateway is not configured with aidbox: set TASKGATE_AIDBOX_URL",
      });
    }
  });
});
