import { randomUUID } from "node:crypto";
import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import { DeliveryState } from "../../gen/taskgate/v1/receipt_pb.ts";
import { Directive } from "../../gen/taskgate/v1/session_pb.ts";
import { TaskRunStatus, TaskStatusService } from "../../gen/taskgate/v1/task_status_pb.ts";
import { streamClients } from "../support/streams.ts";
import { useGatewayWithSandbox } from "../support/use-sandbox.ts";

const { trackRun } = TaskStatusService.method;

describe.each(streamClients)("TrackRun over $name", (client) => {
  test("a whole run on one stream arrives in order, and its outcome is answered twice", async () => {
    const { url, sandbox } = await useGatewayWithSandbox({ TASKGATE_FAST_LANE: String(client.fastLane) });
    const taskRunId = randomUUID();
    const stream = client.open(url, trackRun);
    stream.send({ requestId: "1", frame: { case: "open", value: { taskRunId, message: "begun" } } });
    const ready = await stream.next();
    expect(ready).toMatchObject({
      requestId: "1",
      frame: { case: "ready", value: { resumed: false, limits: { maxPayloadDepth: 100 } } },
    });
    expect(await stream.next()).toMatchObject({
      requestId: "1",
      frame: { case: "receipt", value: { state: DeliveryState.STORED } },
    });
    stream.send({ requestId: "2", frame: { case: "heartbeat", value: {} } });
    const beat = await stream.nextOf("directive");
    expect(beat).toMatchObject({
      requestId: "2",
      frame: { value: { directive: Directive.CONTINUE, cause: ErrorReason.UNSPECIFIED } },
    });
    expect(Number(beat.frame.value.leaseExpireTime?.seconds) * 1000).toBeGreaterThan(Date.now() + 20_000);
    stream.send({ requestId: "3", frame: { case: "update", value: { message: "half way" } } });
    stream.send({
      requestId: "4",
      frame: { case: "output", value: { name: "rows", output: { case: "valueJson", value: "[1]" } } },
    });
    stream.send({
      requestId: "5",
      frame: { case: "finish", value: { status: TaskRunStatus.WARNING, message: "done" } },
    });
    stream.send({ requestId: "6", frame: { case: "log", value: { name: "a.log", data: "text" } } });
    const states = new Map<string, DeliveryState[]>();
    for (let count = 0; count < 5; count += 1) {
      const { requestId, frame } = await stream.nextOf("receipt");
      states.set(requestId, [...(states.get(requestId) ?? []), frame.value.state]);
    }
    stream.halfClose();
    expect(await stream.next()).toBeUndefined();
    expect(Object.fromEntries(states)).toEqual({
      3: [DeliveryState.STORED],
      4: [DeliveryState.STORED],
      5: [DeliveryState.STORED, DeliveryState.DELIVERED],
      6: [DeliveryState.STORED],
    });
    const run = sandbox.orchestra.taskRuns.get(taskRunId);
    await expect.poll(() => run?.logs).toHaveLength(1);
    expect(run).toMatchObject({ status: "WARNING", message: "done", outputs: { rows: [1] } });
    expect(run?.events.map(({ event }) => event.type)).toEqual([
      "UPDATE_STATUS",
      "UPDATE_STATUS",
      "SET_OUTPUT",
      "UPDATE_STATUS",
      "LOG",
    ]);
  });

  test("a run that falls silent is reported as failed, and its worker hears of it when it comes back", async () => {
    const { url, sandbox } = await useGatewayWithSandbox({
      TASKGATE_FAST_LANE: String(client.fastLane),
      TASKGATE_LEASE_DURATION: "1s",
      TASKGATE_HEARTBEAT_INTERVAL: "300ms",
    });
    const taskRunId = randomUUID();
    const stream = client.open(url, trackRun);
    stream.send({ frame: { case: "open", value: { taskRunId } } });
    const {
      frame: {
        value: { sessionId },
      },
    } = await stream.nextOf("ready");
    const run = () => sandbox.orchestra.taskRuns.get(taskRunId);
    await expect.poll(() => run()?.status, { timeout: 2500 }).toBe("FAILED");
    expect(run()?.message).toMatch(/^the worker is lost: no heartbeat for 1 s, the last one came at 2/);
    const notice = await stream.nextOf("directive");
    expect(notice.frame.value).toMatchObject({
      directive: Directive.CANCEL,
      cause: ErrorReason.LEASE_EXPIRED,
    });
    stream.send({ requestId: "late", frame: { case: "heartbeat", value: {} } });
    expect(await stream.nextOf("directive")).toMatchObject({
      requestId: "late",
      frame: { value: { directive: Directive.CANCEL, cause: ErrorReason.LEASE_EXPIRED } },
    });
    stream.cancel();
    const again = client.open(url, trackRun);
    again.send({ frame: { case: "open", value: { taskRunId, sessionId } } });
    expect(await again.nextOf("ready")).toMatchObject({ frame: { value: { resumed: true } } });
    expect((await again.nextOf("directive")).frame.value).toMatchObject({
      directive: Directive.CANCEL,
      cause: ErrorReason.LEASE_EXPIRED,
    });
  });

  test("a resumed stream tells how an outcome ended that was accepted before, and closes then", async () => {
    const { url, sandbox } = await useGatewayWithSandbox({ TASKGATE_FAST_LANE: String(client.fastLane) });
    sandbox.orchestra.faults.set([
      { id: "held", match: { bodyIncludes: "SUCCEEDED" }, action: { kind: "answer", status: 503 } },
    ]);
    const taskRunId = randomUUID();
    const stream = client.open(url, trackRun);
    stream.send({ frame: { case: "open", value: { taskRunId } } });
    const { sessionId } = (await stream.nextOf("ready")).frame.value;
    stream.send({
      requestId: "end",
      frame: { case: "finish", value: { status: TaskRunStatus.SUCCEEDED } },
    });
    await expect.poll(async () => (await stream.nextOf("receipt")).requestId).toBe("end");
    stream.cancel();

    const again = client.open(url, trackRun);
    again.send({ frame: { case: "open", value: { taskRunId, sessionId } } });
    again.halfClose();
    expect(await again.nextOf("ready")).toMatchObject({ frame: { value: { acceptedRequestIds: ["end"] } } });
    expect((await again.nextOf("directive")).frame.value.cause).toBe(ErrorReason.TASK_FINISHED);
    expect(sandbox.orchestra.taskRuns.get(taskRunId)?.status).toBe("RUNNING");
    sandbox.orchestra.faults.set([]);
    expect(await again.nextOf("receipt")).toMatchObject({
      requestId: "end",
      frame: { value: { state: DeliveryState.DELIVERED } },
    });
    expect(await again.next()).toBeUndefined();
    expect(sandbox.orchestra.taskRuns.get(taskRunId)?.status).toBe("SUCCEEDED");
  });

  test("a first frame that is not open ends the stream, and no other", async () => {
    const { url } = await useGatewayWithSandbox({ TASKGATE_FAST_LANE: String(client.fastLane) });
    const good = client.open(url, trackRun);
    good.send({ frame: { case: "open", value: { taskRunId: randomUUID() } } });
    await good.nextOf("ready");
    const bad = client.open(url, trackRun);
    bad.send({ frame: { case: "heartbeat", value: {} } });
    expect(await bad.failure()).toMatchObject({
      code: Code.InvalidArgument,
      reason: "INVALID_REQUEST",
      violations: { frame: "is heartbeat; the first one must be open" },
    });
    good.send({ requestId: "1", frame: { case: "heartbeat", value: {} } });
    expect(await good.nextOf("directive")).toMatchObject({ requestId: "1" });
  });
});
