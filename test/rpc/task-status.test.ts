import { randomUUID } from "node:crypto";
import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import { GatewayService } from "../../gen/taskgate/v1/gateway_pb.ts";
import { DeliveryState, type Receipt, WaitFor } from "../../gen/taskgate/v1/receipt_pb.ts";
import { Directive, type OnLost } from "../../gen/taskgate/v1/session_pb.ts";
import { TaskRunStatus, TaskStatusService } from "../../gen/taskgate/v1/task_status_pb.ts";
import { type Caller, type TestClient, testClients } from "../support/clients.ts";
import { findDelivery, receiptLine, settled } from "../support/deliveries.ts";
import {
  answering,
  type Script,
  type ScriptedServer,
  useScriptedServer,
} from "../support/scripted-server.ts";
import { useGateway } from "../support/use-gateway.ts";

const { updateTask, setOutput, sendLog, heartbeatRun } = TaskStatusService.method;
const { listDeliveries } = GatewayService.method;
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

async function delivered(caller: Caller, receipt: Receipt | undefined): Promise<Receipt | undefined> {
  const last = await settled(caller, receipt);
  expect(last?.state).toBe(DeliveryState.DELIVERED);
  return last;
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
      await caller.call(updateTask, { taskRunId: run, attempt, status, waitFor: WaitFor.DELIVERED });
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

  test("O-06 a message alone says that the run is running, and ends nothing", async () => {
    const { caller, upstream } = await useOrchestra(client);
    await caller.call(updateTask, { taskRunId: run, message: "first" });
    await caller.call(updateTask, { taskRunId: run, message: "second" });
    await caller.call(updateTask, { taskRunId: run, status: TaskRunStatus.WARNING });
    expect(bodies(upstream)).toEqual([
      {
        event_type: "UPDATE_STATUS",
        metadata: {},
        task_run_id: run,
        status: "RUNNING",
        message: "first",
      },
      {
        event_type: "UPDATE_STATUS",
        metadata: {},
        task_run_id: run,
        status: "RUNNING",
        message: "second",
      },
      { event_type: "UPDATE_STATUS", metadata: {}, task_run_id: run, status: "WARNING" },
    ]);
    expect(await caller.fail(updateTask, { taskRunId: run, message: "late" })).toMatchObject({
      code: Code.FailedPrecondition,
      reason: "TASK_FINISHED",
    });
  });

  test("O-13 O-14 the run is the one that is named, in canonical form, or the gateway's own", async () => {
    const { caller, upstream } = await useOrchestra(client, success, {
      ORCHESTRA_TASK_RUN_ID: `{${run.toUpperCase()}}`,
      ORCHESTRA_TASK_ATTEMPT_NUMBER: "2",
    });
    const waitFor = WaitFor.DELIVERED;
    await caller.call(updateTask, { message: "default", waitFor });
    await caller.call(updateTask, { taskRunId: otherRun.replaceAll("-", ""), message: "named", waitFor });
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
      waitFor: WaitFor.DELIVERED,
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
    await caller.call(sendLog, { taskRunId: run, name: "orchestra.log", data, waitFor: WaitFor.DELIVERED });
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

  test("O-24 O-26 O-27 O-29 other answers have their code and reason, and all but refusals are sent again", async () => {
    const troubles = {
      redirect: answering(307, "", { location: "/elsewhere" }),
      credentials: answering(401),
      doubt: answering(500),
      overload: answering(429, "", { "retry-after": "7" }),
    };
    const runs = Object.fromEntries(Object.keys(troubles).map((name) => [name, randomUUID()]));
    const counts = new Map<string, number>();
    const { caller } = await useOrchestra(
      client,
      (request, response, index) => {
        const [name = ""] = Object.entries(runs).find(([, id]) => request.body.includes(id)) ?? [];
        counts.set(name, (counts.get(name) ?? 0) + 1);
        const script = counts.get(name) === 1 ? troubles[name as keyof typeof troubles] : success;
        return script(request, response, index);
      },
      { TASKGATE_DRAIN_TIMEOUT: "100ms" },
    );
    const ask = (name: keyof typeof troubles) => ({
      taskRunId: runs[name] ?? "",
      status: TaskRunStatus.RUNNING,
      waitFor: WaitFor.DELIVERED,
    });

    expect(await caller.fail(updateTask, ask("redirect"))).toMatchObject({
      code: Code.FailedPrecondition,
      reason: "UPSTREAM_REJECTED",
      message: "orchestra answered 307: a redirect, which is not followed: the webhook URL is wrong",
    });

    const startMs = performance.now();
    const { receipt: refused } = await caller.call(updateTask, ask("credentials"), { timeoutMs: 10_000 });
    expect(performance.now() - startMs).toBeLessThan(5000);
    expect(refused).toMatchObject({
      state: DeliveryState.STORED,
      inDoubt: false,
      attempts: 1,
      failure: {
        code: Code.FailedPrecondition,
        reason: ErrorReason.UPSTREAM_AUTH,
        message: "orchestra answered 401",
        metadata: { upstream: "orchestra", http_status: "401", attempt: "1" },
      },
    });
    expect(refused?.nextAttemptTime).toBeDefined();
    expect(await delivered(caller, refused)).toMatchObject({ attempts: 2, inDoubt: false });

    const { receipt: doubtful } = await caller.call(updateTask, {
      ...ask("doubt"),
      waitFor: WaitFor.STORED,
    });
    await expect
      .poll(async () => receiptLine((await findDelivery(caller, doubtful)).receipt), { interval: 5 })
      .toBe("STORED in doubt Unknown UPSTREAM_UNCERTAIN orchestra answered 500");
    expect(await delivered(caller, doubtful)).toMatchObject({ attempts: 2, inDoubt: false });

    const { receipt: overloaded } = await caller.call(updateTask, ask("overload"), { timeoutMs: 2000 });
    expect(overloaded).toMatchObject({
      state: DeliveryState.STORED,
      inDoubt: false,
      attempts: 1,
      failure: {
        code: Code.Unavailable,
        reason: ErrorReason.UPSTREAM_UNAVAILABLE,
        retryDelay: { seconds: 7n, nanos: 0 },
      },
    });
    expect(Object.fromEntries(counts)).toEqual({ redirect: 1, credentials: 2, doubt: 2, overload: 1 });
  });

  test("the caller's deadline and its leaving end the wait, and not the delivery", async () => {
    let closed = 0;
    const release = Promise.withResolvers<void>();
    const arrived = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const { caller, upstream } = await useOrchestra(client, async (request, response, index) => {
      response.on("close", () => {
        closed += response.writableFinished ? 0 : 1;
      });
      arrived[index]?.resolve();
      await release.promise;
      await success(request, response, index);
    });
    const request = { status: TaskRunStatus.RUNNING, waitFor: WaitFor.DELIVERED };
    const { receipt } = await caller.call(updateTask, { ...request, taskRunId: run }, { timeoutMs: 2000 });
    expect(receipt).toMatchObject({ state: DeliveryState.STORED, attempts: 1, inDoubt: false });
    expect(receipt?.failure).toBeUndefined();

    const abort = new AbortController();
    const cancelled = caller.fail(updateTask, { ...request, taskRunId: otherRun }, { signal: abort.signal });
    await arrived[1]?.promise;
    abort.abort();
    expect(await cancelled).toMatchObject({ code: Code.Canceled });

    release.resolve();
    expect(await delivered(caller, receipt)).toMatchObject({ attempts: 1 });
    const { deliveries } = await caller.call(listDeliveries, { taskId: otherRun });
    expect(await delivered(caller, deliveries[0]?.receipt)).toMatchObject({ attempts: 1 });
    expect([upstream.seen.length, closed]).toEqual([2, 0]);
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

  test("a heartbeat begins a lease, renews it, and says when to come again", async () => {
    const { caller } = await useOrchestra(client);
    const begun = await caller.call(heartbeatRun, { taskRunId: run });
    expect(begun).toMatchObject({
      directive: Directive.CONTINUE,
      cause: ErrorReason.UNSPECIFIED,
      leaseDuration: { seconds: 30n },
      nextHeartbeat: { seconds: 10n },
    });
    expect(begun.sessionId).toMatch(/^[\w-]{32}$/);
    const { sessionId } = begun;
    expect(await caller.call(heartbeatRun, { taskRunId: run, sessionId })).toMatchObject({ sessionId });
    // A shell script need not remember it.
    expect(await caller.call(heartbeatRun, { taskRunId: run })).toMatchObject({ sessionId });
  });

  test("a heartbeat after the end is no error, and says that it is over", async () => {
    const { caller } = await useOrchestra(client);
    const { sessionId } = await caller.call(heartbeatRun, { taskRunId: run });
    await caller.call(updateTask, { taskRunId: run, status: TaskRunStatus.SUCCEEDED, sessionId });
    for (const shown of [sessionId, ""]) {
      expect(await caller.call(heartbeatRun, { taskRunId: run, sessionId: shown })).toMatchObject({
        directive: Directive.CANCEL,
        cause: ErrorReason.TASK_FINISHED,
        sessionId: "",
      });
    }
  });

  test("a session that was never given is told to open anew, and may report nothing", async () => {
    const { caller } = await useOrchestra(client);
    const foreign = (await caller.call(heartbeatRun, { taskRunId: otherRun })).sessionId;
    expect(await caller.call(heartbeatRun, { taskRunId: run, sessionId: foreign })).toMatchObject({
      directive: Directive.RECONNECT,
      cause: ErrorReason.SESSION_UNKNOWN,
    });
    expect(
      await caller.fail(updateTask, { taskRunId: run, message: "hello", sessionId: foreign }),
    ).toMatchObject({ code: Code.NotFound, reason: "SESSION_UNKNOWN" });
  });

  test("a request_id that is too long to be kept is refused", async () => {
    const { caller, upstream } = await useOrchestra(client);
    const request = { taskRunId: run, message: "m" };
    await delivered(
      caller,
      (await caller.call(updateTask, { ...request, requestId: "ä".repeat(128) })).receipt,
    );
    expect(await caller.fail(updateTask, { ...request, requestId: "ä".repeat(129) })).toMatchObject({
      code: Code.InvalidArgument,
      violations: { request_id: "has more than 256 bytes" },
    });
    expect(upstream.seen).toHaveLength(1);
  });

  test("a heartbeat for a run that is none names the field", async () => {
    const { caller } = await useOrchestra(client);
    expect(await caller.fail(heartbeatRun, { taskRunId: "x", onLost: 7 as OnLost })).toMatchObject({
      code: Code.InvalidArgument,
      violations: { task_run_id: "is not a UUID", on_lost: "is 7, which is not a member of the enum" },
    });
  });
});
