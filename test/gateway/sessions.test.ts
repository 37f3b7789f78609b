import { randomUUID } from "node:crypto";
import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { CallbackService } from "../../gen/taskgate/v1/callback_pb.ts";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import { GatewayService } from "../../gen/taskgate/v1/gateway_pb.ts";
import { Directive } from "../../gen/taskgate/v1/session_pb.ts";
import { TaskRunStatus, TaskStatusService } from "../../gen/taskgate/v1/task_status_pb.ts";
import { grpcClient, testClients } from "../support/clients.ts";
import { streamClients } from "../support/streams.ts";
import { useDirectory } from "../support/use-directory.ts";
import { useGatewayWithSandbox } from "../support/use-sandbox.ts";

const { trackRun, heartbeatRun, updateTask } = TaskStatusService.method;
const { heartbeatCallback } = CallbackService.method;
const { listSessions, drain, getInfo } = GatewayService.method;

describe.each(testClients)("ListSessions over $name", (client) => {
  test("shows who is alive, by pages and by upstream, and the token of nobody", async () => {
    const { url, sandbox } = await useGatewayWithSandbox({ TASKGATE_FAST_LANE: String(client.fastLane) });
    const caller = client.connect(url);
    const runs = [randomUUID(), randomUUID(), randomUUID()];
    const sessionIds: string[] = [];
    for (const taskRunId of runs) {
      sessionIds.push((await caller.call(heartbeatRun, { taskRunId })).sessionId);
    }
    const { process_id, callback_route: value } = sandbox.orchestrator.processes.start();
    await caller.call(heartbeatCallback, { target: { case: "callbackRoute", value } });
    const all = await caller.call(listSessions, {});
    expect(all.sessions).toHaveLength(4);
    expect(all.sessions.find(({ upstream }) => upstream === "orchestrator")).toMatchObject({
      caller: "everyone",
      connected: false,
      taskIds: [process_id],
    });
    expect(JSON.stringify(all.sessions.map(({ taskIds }) => taskIds))).not.toContain(value.slice(-43));
    const first = await caller.call(listSessions, { upstream: "orchestra", pageSize: 2 });
    const pageToken = first.nextPageToken;
    const second = await caller.call(listSessions, { upstream: "orchestra", pageSize: 2, pageToken });
    expect(second.nextPageToken).toBe("");
    const listed = [...first.sessions, ...second.sessions];
    expect(listed.map(({ sessionId }) => sessionId).sort()).toEqual(sessionIds.sort());
    expect(listed.flatMap(({ taskIds }) => taskIds).sort()).toEqual(runs.sort());
  });

  test("refuses an upstream that there is not, and a token of somebody else", async () => {
    const { url } = await useGatewayWithSandbox({ TASKGATE_FAST_LANE: String(client.fastLane) });
    const request = { upstream: "none", pageSize: -1, pageToken: "x" };
    expect(await client.connect(url).fail(listSessions, request)).toMatchObject({
      code: Code.InvalidArgument,
      violations: {
        upstream: "is none of orchestra, orchestrator, aidbox",
        page_size: "must not be negative",
        page_token: "is not one that this gateway gave",
      },
    });
  });
});

describe.each(streamClients)("sessions on streams over $name", (client) => {
  const env = { TASKGATE_FAST_LANE: String(client.fastLane) };

  test("a stream that breaks is resumed: nothing is said twice, and what was accepted is listed", async () => {
    const { url, sandbox } = await useGatewayWithSandbox(env);
    const taskRunId = randomUUID();
    const stream = client.open(url, trackRun);
    stream.send({ requestId: "o", frame: { case: "open", value: { taskRunId } } });
    const { sessionId } = (await stream.nextOf("ready")).frame.value;
    await stream.nextOf("receipt");
    stream.send({ requestId: "1", frame: { case: "update", value: { message: "one" } } });
    await stream.nextOf("receipt");
    stream.cancel();
    const again = client.open(url, trackRun);
    again.send({ frame: { case: "open", value: { taskRunId, sessionId } } });
    expect((await again.nextOf("ready")).frame.value).toMatchObject({
      sessionId,
      resumed: true,
      acceptedRequestIds: ["o", "1"],
    });
    // It does not know what was accepted, and says it again.
    again.send({ requestId: "1", frame: { case: "update", value: { message: "one" } } });
    again.send({ requestId: "2", frame: { case: "finish", value: { status: TaskRunStatus.SUCCEEDED } } });
    again.halfClose();
    while ((await again.next()) !== undefined) {}
    const run = sandbox.orchestra.taskRuns.get(taskRunId);
    expect(run?.events.map(({ event }) => ("status" in event ? event.status : ""))).toEqual([
      "RUNNING",
      "RUNNING",
      "SUCCEEDED",
    ]);
  });

  test("it is resumed at the next gateway, too, and the lease is in force there", async () => {
    const data = {
      ...env,
      TASKGATE_DATA_DIR: useDirectory(),
      TASKGATE_LEASE_DURATION: "1500ms",
      TASKGATE_HEARTBEAT_INTERVAL: "300ms",
    };
    const first = await useGatewayWithSandbox(data);
    const [taskRunId, silent] = [randomUUID(), randomUUID()];
    const stream = client.open(first.url, trackRun);
    stream.send({ frame: { case: "open", value: { taskRunId } } });
    const { sessionId } = (await stream.nextOf("ready")).frame.value;
    const other = client.open(first.url, trackRun);
    other.send({ frame: { case: "open", value: { taskRunId: silent } } });
    await other.nextOf("ready");
    stream.cancel();
    other.cancel();
    await first.gateway.stop();
    const { url, sandbox } = await useGatewayWithSandbox(data);
    const again = client.open(url, trackRun);
    again.send({ frame: { case: "open", value: { taskRunId, sessionId } } });
    expect((await again.nextOf("ready")).frame.value).toMatchObject({ sessionId, resumed: true });
    const beating = setInterval(() => again.send({ frame: { case: "heartbeat", value: {} } }), 300);
    await expect.poll(() => sandbox.orchestra.taskRuns.get(silent)?.status, { timeout: 4000 }).toBe("FAILED");
    clearInterval(beating);
    again.send({ frame: { case: "finish", value: { status: TaskRunStatus.SUCCEEDED } } });
    await again.nextOf("receipt");
    expect((await again.nextOf("receipt")).frame.value.failure).toBeUndefined();
    expect(sandbox.orchestra.taskRuns.get(taskRunId)?.events).toHaveLength(1);
  });

  test("a frame whose request_id is too long to be kept is refused, and the stream goes on", async () => {
    const { url } = await useGatewayWithSandbox(env);
    const stream = client.open(url, trackRun);
    stream.send({ frame: { case: "open", value: { taskRunId: randomUUID() } } });
    await stream.nextOf("ready");
    const requestId = "x".repeat(257);
    stream.send({ requestId, frame: { case: "update", value: { message: "m" } } });
    expect(await stream.nextOf("failure")).toMatchObject({
      requestId,
      frame: {
        value: { reason: ErrorReason.INVALID_REQUEST, message: "request_id has more than 256 bytes" },
      },
    });
    stream.send({ requestId: "ok", frame: { case: "update", value: { message: "m" } } });
    expect(await stream.nextOf("receipt")).toBeDefined();
  });

  test("the last opener wins, and the one before hears why", async () => {
    const { url } = await useGatewayWithSandbox(env);
    const caller = grpcClient.connect(url);
    const taskRunId = randomUUID();
    const first = client.open(url, trackRun);
    first.send({ frame: { case: "open", value: { taskRunId } } });
    const { sessionId: old } = (await first.nextOf("ready")).frame.value;
    const second = client.open(url, trackRun);
    second.send({ frame: { case: "open", value: { taskRunId } } });
    const { sessionId } = (await second.nextOf("ready")).frame.value;
    expect(await first.failure()).toMatchObject({ code: Code.Aborted, reason: "LEASE_SUPERSEDED" });
    expect(sessionId).not.toBe(old);
    const superseded = { code: Code.FailedPrecondition, reason: "LEASE_SUPERSEDED" };
    expect(await caller.fail(updateTask, { taskRunId, message: "m", sessionId: old })).toMatchObject(
      superseded,
    );
    expect(await caller.call(heartbeatRun, { taskRunId, sessionId: old })).toMatchObject({
      directive: Directive.CANCEL,
      cause: ErrorReason.LEASE_SUPERSEDED,
    });
    const third = client.open(url, trackRun);
    third.send({ frame: { case: "open", value: { taskRunId, sessionId: old } } });
    expect(await third.failure()).toMatchObject(superseded);
    const unknown = client.open(url, trackRun);
    unknown.send({ frame: { case: "open", value: { taskRunId, sessionId: "x".repeat(32) } } });
    expect(await unknown.failure()).toMatchObject({ code: Code.NotFound, reason: "SESSION_UNKNOWN" });
  });

  test("draining takes nothing new, and everything that is begun", async () => {
    const { url, opsUrl } = await useGatewayWithSandbox(env);
    const caller = grpcClient.connect(url);
    const taskRunId = randomUUID();
    const stream = client.open(url, trackRun);
    stream.send({ frame: { case: "open", value: { taskRunId } } });
    const { sessionId } = (await stream.nextOf("ready")).frame.value;
    await stream.nextOf("receipt");
    expect(await caller.call(drain, {})).toMatchObject({ sessionCount: 1n });
    expect((await stream.nextOf("directive")).frame.value).toMatchObject({
      directive: Directive.DRAIN,
      cause: ErrorReason.DRAINING,
    });
    expect(await caller.call(getInfo, {})).toMatchObject({ draining: true });
    expect((await fetch(`${opsUrl}/readyz`)).status).toBe(503);
    const refused = client.open(url, trackRun);
    refused.send({ frame: { case: "open", value: { taskRunId: randomUUID() } } });
    expect(await refused.failure()).toMatchObject({ code: Code.Unavailable, reason: "DRAINING" });
    stream.cancel();
    const again = client.open(url, trackRun);
    again.send({ frame: { case: "open", value: { taskRunId, sessionId } } });
    await again.nextOf("ready");
    again.send({ requestId: "b", frame: { case: "heartbeat", value: {} } });
    for (;;) {
      const { requestId, frame } = await again.nextOf("directive");
      expect(frame.value.directive).toBe(Directive.DRAIN);
      if (requestId === "b") {
        break;
      }
    }
    again.send({ frame: { case: "finish", value: { status: TaskRunStatus.SUCCEEDED } } });
    again.halfClose();
    while ((await again.next()) !== undefined) {}
  });

  test("a gateway that stops ends its streams with a word, and reports nobody as lost", async () => {
    const { url, gateway, sandbox } = await useGatewayWithSandbox({
      ...env,
      TASKGATE_DRAIN_TIMEOUT: "2500ms",
      TASKGATE_LEASE_DURATION: "1s",
      TASKGATE_HEARTBEAT_INTERVAL: "300ms",
    });
    const taskRunId = randomUUID();
    const stream = client.open(url, trackRun);
    stream.send({ frame: { case: "open", value: { taskRunId } } });
    await stream.nextOf("ready");
    const stopped = gateway.stop();
    expect(await stream.failure()).toMatchObject({ code: Code.Unavailable, reason: "DRAINING" });
    await stopped;
    expect(sandbox.orchestra.taskRuns.get(taskRunId)?.status).toBe("RUNNING");
  });
});
