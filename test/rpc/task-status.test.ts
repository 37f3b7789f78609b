import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { DeliveryState, WaitFor } from "../../gen/taskgate/v1/receipt_pb.ts";
import { TaskRunStatus, TaskStatusService } from "../../gen/taskgate/v1/task_status_pb.ts";
import { type Caller, type TestClient, testClients } from "../support/clients.ts";
import {
  answering,
  type Script,
  type ScriptedServer,
  useScriptedServer,
} from "../support/scripted-server.ts";
import { useGateway } from "../support/use-gateway.ts";

const { updateTask, setOutput, sendLog, heartbeatRun } = TaskStatusService.method;
const run = "1d876307-8c0a-42a1-8299-af0516223652";
const otherRun = "c578a224-c1fa-44c1-bc7a-9d2e624b872b";
const success = answering(200, '{"success":true,"message":"ok"}');

async function useOrchestra(
  client: TestClient,
  script: Script = success,
  env: Record<string, string> = {},
): Promise<{ caller: Caller; upstream: ScriptedServer }> {
  const upstream = await useScriptedServer(script);
  const { url } = await useGateway({
    ORCHESTRA_WEBHOOK_URL: `${upstream.origin}/hook?region=eu`,
    ORCHESTRA_API_KEY: "the-key",
    TASKGATE_FAST_LANE: String(client.fastLane),
    ...env,
  });
  return { caller: client.connect(url), upstream };
}

function bodies(upstream: ScriptedServer): unknown[] {
  return upstream.seen.map(({ body }) => JSON.parse(body));
}

describe.each(testClients)("TaskStatusService over $name", (client) => {
  test("O-01 O-02 O-03 O-05 a status with a message becomes one event, and its receipt says delivered", async () => {
    const { caller, upstream } = await useOrchestra(client);
    const { receipt } = await caller.call(updateTask, {
      taskRunId: run,
      status: TaskRunStatus.RUNNING,
      message: "half way",
      waitFor: WaitFor.DELIVERED,
    });
    expect(receipt).toMatchObject({ state: DeliveryState.DELIVERED, attempts: 1, inDoubt: false });
    expect(receipt?.deliveryId).toMatch(/^[0-9a-f-]{36}$/);
    expect(receipt?.deliverTime).toBeDefined();
    expect(upstream.seen).toMatchObject([
      {
        method: "POST",
        url: "/hook?region=eu",
        headers: { authorization: "Bearer the-key", "content-type": "application/json" },
        body: `{"event_type":"UPDATE_STATUS","metadata":{},"task_run_id":"${run}","status":"RUNNING","message":"half way"}`,
      },
    ]);
  });

  test("O-04 O-08 each status has Orchestra's word, and nothing is sent that was not said", async () => {
    const { caller, upstream } = await useOrchestra(client);
    const statuses = [
      TaskRunStatus.RUNNING,
      TaskRunStatus.SUCCEEDED,
      TaskRunStatus.FAILED,
      TaskRunStatus.WARNING,
      TaskRunStatus.CANCELLED,
    ];
    for (const [attempt, status] of statuses.entries()) {
      await caller.call(updateTask, { taskRunId: run, attempt, status });
    }
    expect(bodies(upstream)).toEqual(
      ["RUNNING", "SUCCEEDED", "FAILED", "WARNING", "CANCELLED"].map((status) => ({
        event_type: "UPDATE_STATUS",
        metadata: {},
        task_run_id: run,
        status,
      })),
    );
  });

  test("O-06 a message alone goes with the run's last status, or RUNNING", async () => {
    const { caller, upstream } = await useOrchestra(client);
    await caller.call(updateTask, { taskRunId: run, message: "first" });
    await caller.call(updateTask, { taskRunId: run, status: TaskRunStatus.WARNING });
    await caller.call(updateTask, { taskRunId: otherRun, message: "another" });
    expect(bodies(upstream)).toMatchObject([
      { task_run_id: run, status: "RUNNING", message: "first" },
      { task_run_id: run, status: "WARNING" },
      { task_run_id: otherRun, status: "RUNNING", message: "another" },
    ]);
  });

  test("O-13 O-14 the run is the one that is named, in canonical form, or the gateway's own", async () => {
    const { caller, upstream } = await useOrchestra(client, success, {
      ORCHESTRA_TASK_RUN_ID: `{${run.toUpperCase()}}`,
      ORCHESTRA_TASK_ATTEMPT_NUMBER: "2",
    });
    await caller.call(updateTask, { message: "default" });
    await caller.call(updateTask, { taskRunId: otherRun.replaceAll("-", ""), message: "named" });
    expect(bodies(upstream)).toMatchObject([{ task_run_id: run }, { task_run_id: otherRun }]);
  });

  test("O-09 an output is any JSON value, from a Value or as exact text", async () => {
    const { caller, upstream } = await useOrchestra(client);
    await caller.call(setOutput, {
      taskRunId: run,
      name: "row_count",
      output: {
        case: "value",
        value: {
          kind: {
            case: "structValue",
            value: { fields: { a: { kind: { case: "numberValue", value: 1.5 } } } },
          },
        },
      },
    });
    await caller.call(setOutput, {
      taskRunId: run,
      name: "Exact",
      output: { case: "valueJson", value: '{"z": 12345678901234567890, "a": 0.10}' },
    });
    expect(upstream.seen.map(({ body }) => body)).toEqual([
      `{"event_type":"SET_OUTPUT","metadata":{},"task_run_id":"${run}","output_name":"row_count","output_value":{"a":1.5}}`,
      `{"event_type":"SET_OUTPUT","metadata":{},"task_run_id":"${run}","output_name":"Exact","output_value":{"z": 12345678901234567890, "a": 0.10}}`,
    ]);
  });

  test("O-11 O-12 O-16 a log is one event, also behind the outcome, whatever its letters", async () => {
    const { caller, upstream } = await useOrchestra(client);
    const data = 'línea 1\n"línea" 2\t\u2028 😀\n';
    await caller.call(updateTask, { taskRunId: run, status: TaskRunStatus.SUCCEEDED });
    await caller.call(sendLog, { taskRunId: run, name: "orchestra.log", data });
    expect(bodies(upstream)[1]).toEqual({
      event_type: "LOG",
      metadata: {},
      task_run_id: run,
      log_name: "orchestra.log",
      data,
    });
  });

  test("O-07 O-10 everything that is wrong is told at once, by field, and nothing is sent", async () => {
    const { caller, upstream } = await useOrchestra(client);
    expect(await caller.fail(updateTask, { taskRunId: "no uuid", status: 99 as TaskRunStatus })).toEqual({
      code: Code.InvalidArgument,
      message: "task_run_id is not a UUID; status is 99, which is not a member of the enum",
      reason: "INVALID_REQUEST",
      reasonTrailer: "INVALID_REQUEST",
      metadata: {},
      violations: {
        task_run_id: "is not a UUID",
        status: "is 99, which is not a member of the enum",
      },
      retryAfterMs: undefined,
    });
    expect(await caller.fail(updateTask, { taskRunId: run })).toMatchObject({
      violations: { status: "is required unless message is set" },
    });
    expect(await caller.fail(updateTask, { message: "x" })).toMatchObject({
      violations: { task_run_id: "is required: ORCHESTRA_TASK_RUN_ID is not set" },
    });
    expect(await caller.fail(updateTask, { taskRunId: run, message: "a\u0000b" })).toMatchObject({
      violations: { message: "contains U+0000, which the upstream cannot store" },
    });
    expect(
      await caller.fail(updateTask, { taskRunId: run, attempt: -1, message: "x", waitFor: 7 as WaitFor }),
    ).toMatchObject({
      violations: {
        attempt: "must not be negative",
        wait_for: "is 7, which is not a member of the enum",
      },
    });
    expect(await caller.fail(setOutput, { taskRunId: run, name: "row count" })).toMatchObject({
      violations: { name: "must be letters, `_` and `-`", value: "is required unless value_json is set" },
    });
    expect(
      await caller.fail(setOutput, { taskRunId: run, name: "a", output: { case: "valueJson", value: "{" } }),
    ).toMatchObject({ violations: { value_json: expect.stringContaining("is not valid JSON") } });
    expect(
      await caller.fail(setOutput, {
        taskRunId: run,
        name: "a",
        output: { case: "value", value: { kind: { case: "numberValue", value: Number.NaN } } },
      }),
    ).toMatchObject({ violations: { value: "contains NaN, which is not a JSON number" } });
    expect(
      await caller.fail(setOutput, {
        taskRunId: run,
        name: "a",
        output: { case: "value", value: { kind: { case: undefined } } },
      }),
    ).toMatchObject({ violations: { value: "contains a value without a kind" } });
    expect(await caller.fail(sendLog, { taskRunId: run, data: "x" })).toMatchObject({
      violations: { name: "is required" },
    });
    expect(upstream.seen).toEqual([]);
  });

  test("a payload over its limit is refused before it is sent", async () => {
    const { caller, upstream } = await useOrchestra(client);
    const data = "x".repeat(4 * 1024 * 1024 - 64 * 1024 + 1);
    expect(await caller.fail(sendLog, { taskRunId: run, name: "l", data })).toMatchObject({
      code: Code.ResourceExhausted,
      reason: "PAYLOAD_TOO_LARGE",
      violations: { data: "has 4128769 bytes, and the limit is 4128768" },
    });
    const valueJson = JSON.stringify("x".repeat(1024 * 1024));
    expect(
      await caller.fail(setOutput, {
        taskRunId: run,
        name: "a",
        output: { case: "valueJson", value: valueJson },
      }),
    ).toMatchObject({ code: Code.ResourceExhausted, reason: "PAYLOAD_TOO_LARGE" });
    expect(upstream.seen).toEqual([]);
  });

  test("O-22 O-25 a refusal is an error that names the upstream, what it said, and the delivery", async () => {
    const { caller } = await useOrchestra(
      client,
      answering(404, '{"success":false,"error":"Invalid task_run_id","code":"TASK_NOT_FOUND"}'),
    );
    const error = await caller.fail(updateTask, { taskRunId: run, status: TaskRunStatus.SUCCEEDED });
    expect(error).toMatchObject({
      code: Code.FailedPrecondition,
      reason: "UPSTREAM_REJECTED",
      message: "orchestra answered 404: Invalid task_run_id",
      metadata: {
        upstream: "orchestra",
        http_status: "404",
        attempt: "1",
        upstream_type: "TASK_NOT_FOUND",
        upstream_message: "Invalid task_run_id",
      },
    });
    expect(error.metadata.delivery_id).toMatch(/^[0-9a-f-]{36}$/);
  });

  test("O-24 O-27 O-29 other answers have their code and reason", async () => {
    const answers: Script[] = [
      answering(401),
      answering(429, "", { "retry-after": "7" }),
      answering(500),
      answering(307, "", { location: "/elsewhere" }),
    ];
    const { caller } = await useOrchestra(client, (request, response, index) =>
      answers[index]?.(request, response, index),
    );
    const request = { taskRunId: run, status: TaskRunStatus.RUNNING };
    expect(await caller.fail(updateTask, request)).toMatchObject({
      code: Code.FailedPrecondition,
      reason: "UPSTREAM_AUTH",
    });
    expect(await caller.fail(updateTask, request)).toMatchObject({
      code: Code.Unavailable,
      reason: "UPSTREAM_UNAVAILABLE",
      retryAfterMs: 7000,
    });
    expect(await caller.fail(updateTask, request)).toMatchObject({
      code: Code.Unknown,
      reason: "UPSTREAM_UNCERTAIN",
    });
    expect(await caller.fail(updateTask, request)).toMatchObject({
      code: Code.FailedPrecondition,
      reason: "UPSTREAM_REJECTED",
      message: "orchestra answered 307: a redirect, which is not followed: the webhook URL is wrong",
    });
  });

  test("the caller's deadline and its leaving reach the upstream call", async () => {
    const closed: boolean[] = [];
    const arrived = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const { caller } = await useOrchestra(client, (_, response, index) => {
      response.on("close", () => closed.push(true));
      arrived[index]?.resolve();
    });
    const request = { taskRunId: run, status: TaskRunStatus.RUNNING };
    expect(await caller.fail(updateTask, request, { timeoutMs: 200 })).toMatchObject({
      code: Code.DeadlineExceeded,
    });
    await expect.poll(() => closed.length).toBe(1);

    const abort = new AbortController();
    const cancelled = caller.fail(updateTask, request, { signal: abort.signal });
    await arrived[1]?.promise;
    abort.abort();
    expect(await cancelled).toMatchObject({ code: Code.Canceled });
    await expect.poll(() => closed.length).toBe(2);
  });

  test("without Orchestra the error says what to set", async () => {
    const { url } = await useGateway({ TASKGATE_FAST_LANE: String(client.fastLane) });
    const caller = client.connect(url);
    expect(await caller.fail(updateTask, { taskRunId: run, status: TaskRunStatus.RUNNING })).toMatchObject({
      code: Code.FailedPrecondition,
      reason: "UPSTREAM_NOT_CONFIGURED",
      message: "the gateway is not configured with orchestra: set ORCHESTRA_API_KEY",
    });
  });

  test("what is not there yet says so", async () => {
    const { caller } = await useOrchestra(client);
    expect(await caller.fail(heartbeatRun, { taskRunId: run })).toMatchObject({
      code: Code.Unimplemented,
      reason: "NOT_IMPLEMENTED",
    });
  });
});
