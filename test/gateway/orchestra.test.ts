import { randomUUID } from "node:crypto";
import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { DeliveryState, WaitFor } from "../../gen/taskgate/v1/receipt_pb.ts";
import { TaskRunStatus, TaskStatusService } from "../../gen/taskgate/v1/task_status_pb.ts";
import type { FaultRule } from "../../src/sandbox/faults.ts";
import { grpcClient, testClients } from "../support/clients.ts";
import { findDelivery, receiptLine, settled, settledByRetry, troubled } from "../support/deliveries.ts";
import { useGatewayWithSandbox } from "../support/use-sandbox.ts";

const { updateTask, setOutput, sendLog } = TaskStatusService.method;
const waitFor = WaitFor.DELIVERED;

describe.each(testClients)("Orchestra's receiver, over $name", (client) => {
  test("O-12 O-20 a whole run arrives in order, the log behind the outcome", async () => {
    const { url, sandbox } = await useGatewayWithSandbox({ TASKGATE_FAST_LANE: String(client.fastLane) });
    const caller = client.connect(url);
    const taskRunId = randomUUID();
    await caller.call(updateTask, { taskRunId, status: TaskRunStatus.RUNNING, message: "begun" });
    await caller.call(setOutput, { taskRunId, name: "Rows", output: { case: "valueJson", value: "[1]" } });
    await caller.call(updateTask, { taskRunId, status: TaskRunStatus.WARNING });
    await caller.call(sendLog, { taskRunId, name: "a.log", data: "text", waitFor });
    const run = sandbox.orchestra.taskRuns.get(taskRunId);
    expect(run).toMatchObject({
      status: "WARNING",
      message: "begun",
      outputs: { rows: [1] },
      logs: [{ name: "a.log", data: "text" }],
    });
    expect(run?.events.map(({ event, afterOutcome }) => [event.type, afterOutcome])).toEqual([
      ["UPDATE_STATUS", false],
      ["SET_OUTPUT", false],
      ["UPDATE_STATUS", false],
      ["LOG", true],
    ]);
  });

  test("O-23 O-25 O-33 what the receiver refuses is a refusal here, with its words", async () => {
    const { url, sandbox } = await useGatewayWithSandbox({ TASKGATE_FAST_LANE: String(client.fastLane) });
    const caller = client.connect(url);
    const taskRunId = randomUUID();
    sandbox.orchestra.taskRuns.disown(taskRunId);
    const request = { taskRunId, status: TaskRunStatus.RUNNING, waitFor };
    expect(await caller.fail(updateTask, request)).toMatchObject({
      code: Code.FailedPrecondition,
      reason: "UPSTREAM_REJECTED",
      metadata: { http_status: "404", upstream_type: "TASK_NOT_FOUND" },
    });
    sandbox.orchestra.settings.refuseWithStatus200 = true;
    expect(await caller.fail(updateTask, request)).toMatchObject({
      reason: "UPSTREAM_REJECTED",
      metadata: { http_status: "200", upstream_type: "TASK_NOT_FOUND" },
    });
    sandbox.orchestra.settings.refuseWithStatus200 = false;
    const ended = randomUUID();
    sandbox.orchestra.taskRuns.register(ended, "FAILED");
    const late = { taskRunId: ended, name: "late", output: { case: "valueJson", value: "1" } } as const;
    expect(await caller.fail(setOutput, { ...late, waitFor })).toMatchObject({
      code: Code.FailedPrecondition,
      reason: "UPSTREAM_REJECTED",
      metadata: { http_status: "409", upstream_type: "INVALID_STATE" },
    });
  });

  test("O-25 a refusal that nobody waits for is no error, and is kept with its words", async () => {
    const { url, sandbox } = await useGatewayWithSandbox({ TASKGATE_FAST_LANE: String(client.fastLane) });
    const caller = client.connect(url);
    const taskRunId = randomUUID();
    sandbox.orchestra.taskRuns.disown(taskRunId);
    const { receipt } = await caller.call(updateTask, { taskRunId, status: TaskRunStatus.RUNNING });
    expect(receipt?.state).toBe(DeliveryState.STORED);
    expect(receiptLine(await settled(caller, receipt))).toBe(
      "REJECTED FailedPrecondition UPSTREAM_REJECTED orchestra answered 404: Invalid task_run_id",
    );
  });
});

describe("an Orchestra in trouble", () => {
  const taken = { when: "after" } as const;

  async function useCaller(timeout = "10s") {
    const used = await useGatewayWithSandbox({
      TASKGATE_ORCHESTRA_TIMEOUT: timeout,
      TASKGATE_DRAIN_TIMEOUT: "100ms",
    });
    const taskRunId = randomUUID();
    return {
      ...used,
      caller: grpcClient.connect(used.url),
      request: { taskRunId, status: TaskRunStatus.RUNNING, waitFor },
      events: () => used.sandbox.orchestra.taskRuns.get(taskRunId)?.events ?? [],
    };
  }

  const unavailable = "STORED Unavailable UPSTREAM_UNAVAILABLE";
  const inDoubt = "STORED in doubt Unknown UPSTREAM_UNCERTAIN";
  const endless = ["hang", "dribble"];

  test.each<[name: string, fault: FaultRule, expected: string]>([
    ["O-27 429", { action: { kind: "answer", status: 429 } }, unavailable],
    ["O-28 503", { action: { kind: "answer", status: 503 } }, unavailable],
    ["O-29 500", { action: { kind: "answer", status: 500 } }, inDoubt],
    ["O-29 502, and taken", { ...taken, action: { kind: "answer", status: 502 } }, inDoubt],
    ["O-29 504", { action: { kind: "answer", status: 504 } }, inDoubt],
    ["O-30 no answer", { action: { kind: "hang" } }, inDoubt],
    ["O-32 taken, and a reset", { ...taken, action: { kind: "reset" } }, inDoubt],
    ["a body that drips", { action: { kind: "dribble", intervalMs: 50 } }, inDoubt],
    ["a body without end", { action: { kind: "endless" } }, inDoubt],
    ["a body that is cut off", { action: { kind: "truncate" } }, inDoubt],
    ["a connection that just ends", { action: { kind: "noAnswerClose" } }, inDoubt],
  ])("%s leaves the report stored, and it arrives when that is over", async (_, fault, expected) => {
    const { caller, sandbox, request, events } = await useCaller(
      endless.includes(fault.action.kind) ? "500ms" : "10s",
    );
    const { faults } = sandbox.orchestra;
    const id = faults.add(fault);
    const stored = await caller.call(updateTask, { ...request, waitFor: WaitFor.STORED });
    const receipt = await troubled(caller, stored.receipt);
    expect(receiptLine(receipt)).toMatch(new RegExp(`^${expected} orchestra `));
    expect(receipt?.failure?.metadata).toMatchObject({
      upstream: "orchestra",
      attempt: expect.any(String),
    });
    const struck = faults.fired(id);
    const takenBefore = events().length;
    expect(struck).toBeGreaterThan(0);
    faults.clear();
    const last = await settled(caller, receipt);
    expect(last).toMatchObject({
      deliveryId: receipt?.deliveryId,
      state: DeliveryState.DELIVERED,
      attempts: struck + 1,
      inDoubt: false,
    });
    expect(last?.failure).toBeUndefined();
    expect([takenBefore, events().length]).toEqual(fault.when === "after" ? [struck, struck + 1] : [0, 1]);
  });

  test("O-26 a redirect is a refusal, and the report arrives when it is sent again by hand", async () => {
    const { caller, sandbox, request, events } = await useCaller();
    const { faults } = sandbox.orchestra;
    const id = faults.add({ action: { kind: "redirect", status: 301, location: "http://127.0.0.1:9/" } });
    const error = await caller.fail(updateTask, request);
    expect(error).toMatchObject({ code: Code.FailedPrecondition, reason: "UPSTREAM_REJECTED" });
    expect(faults.fired(id)).toBe(1);
    faults.clear();
    const { receipt } = await findDelivery(caller, { deliveryId: error.metadata.delivery_id ?? "" });
    expect(receipt).toMatchObject({ state: DeliveryState.REJECTED, attempts: 1 });
    expect(await settledByRetry(caller, receipt)).toMatchObject({
      state: DeliveryState.DELIVERED,
      attempts: 2,
    });
    expect(events().length).toBe(1);
  });

  test("O-27 429 with Retry-After is told to a caller that has not so much time, and not asked again before", async () => {
    const { caller, sandbox, request } = await useCaller();
    const { orchestra } = sandbox;
    orchestra.faults.add({
      times: 1,
      action: { kind: "answer", status: 429, headers: { "retry-after": "2" } },
    });
    const { receipt } = await caller.call(updateTask, request, { timeoutMs: 1000 });
    expect(receipt).toMatchObject({
      state: DeliveryState.STORED,
      attempts: 1,
      failure: { retryDelay: { seconds: 2n, nanos: 0 } },
    });
    expect(await settled(caller, receipt)).toMatchObject({ state: DeliveryState.DELIVERED, attempts: 2 });
    const [first, second, ...others] = orchestra.requests.map(({ atMs }) => atMs);
    expect((second ?? 0) - (first ?? 0)).toBeGreaterThanOrEqual(2000);
    expect(others).toEqual([]);
  });

  test("O-24 refused credentials keep the report, which arrives with the right ones", async () => {
    const { caller, sandbox, request, events } = await useCaller();
    const { faults } = sandbox.orchestra;
    faults.add({ action: { kind: "answer", status: 401 } });
    const startMs = performance.now();
    const { receipt } = await caller.call(updateTask, request, { timeoutMs: 15_000 });
    expect(performance.now() - startMs).toBeLessThan(5000);
    expect(receiptLine(receipt)).toBe("STORED FailedPrecondition UPSTREAM_AUTH orchestra answered 401");
    faults.clear();
    expect((await settled(caller, receipt))?.state).toBe(DeliveryState.DELIVERED);
    expect(events().length).toBe(1);
  });

  test("O-24 refused credentials are told at once also while nothing is sent because of them", async () => {
    const { caller, sandbox, request } = await useCaller();
    const { faults } = sandbox.orchestra;
    faults.add({ action: { kind: "answer", status: 401 } });
    // So many in a row that the gateway makes a pause.
    const other = () => ({ ...request, taskRunId: randomUUID() });
    await Promise.all(Array.from({ length: 6 }, () => caller.call(updateTask, other())));
    const startMs = performance.now();
    const { receipt } = await caller.call(updateTask, other(), { timeoutMs: 15_000 });
    expect(performance.now() - startMs).toBeLessThan(2000);
    expect([receiptLine(receipt), receipt?.attempts]).toEqual([
      "STORED FailedPrecondition UPSTREAM_AUTH orchestra answered 401",
      0,
    ]);
    faults.clear();
    expect((await settled(caller, receipt))?.state).toBe(DeliveryState.DELIVERED);
  });

  test("O-31 one that is down is unavailable, and gets the report when it is back", async () => {
    const { caller, sandbox, request, events } = await useCaller();
    const { faults } = sandbox.orchestra;
    await faults.setDown(true);
    const { receipt } = await caller.call(updateTask, request, { timeoutMs: 1000 });
    expect(receiptLine(receipt)).toMatch(new RegExp(`^${unavailable} orchestra was not reached: `));
    await faults.setDown(false);
    expect(await settled(caller, receipt)).toMatchObject({ state: DeliveryState.DELIVERED, inDoubt: false });
    expect(events().length).toBe(1);
  });

  test("O-28 O-31 what follows waits behind, in its order, and other runs wait for nothing", async () => {
    const { caller, sandbox, request, events } = await useCaller();
    const { taskRunId } = request;
    const { faults, taskRuns } = sandbox.orchestra;
    faults.add({ match: { bodyIncludes: '"begun"' }, action: { kind: "answer", status: 503 } });
    const reports = [
      await caller.call(updateTask, { ...request, waitFor: WaitFor.STORED, message: "begun" }),
      await caller.call(setOutput, { taskRunId, name: "a", output: { case: "valueJson", value: "1" } }),
      await caller.call(updateTask, {
        taskRunId,
        status: TaskRunStatus.SUCCEEDED,
        waitFor: WaitFor.STORED,
      }),
      await caller.call(sendLog, { taskRunId, name: "l", data: "x" }),
    ];
    expect(reports.map(({ receipt }) => receipt?.state)).toEqual(reports.map(() => DeliveryState.STORED));
    expect(reports.slice(1).map(({ receipt }) => receipt?.attempts)).toEqual([0, 0, 0]);
    const other = { ...request, taskRunId: randomUUID() };
    expect((await caller.call(updateTask, other)).receipt?.state).toBe(DeliveryState.DELIVERED);
    expect(taskRuns.get(other.taskRunId)?.events.length).toBe(1);
    expect(events()).toEqual([]);
    faults.clear();
    for (const { receipt } of reports) {
      expect((await settled(caller, receipt))?.state).toBe(DeliveryState.DELIVERED);
    }
    expect(events().map(({ event }) => event.type)).toEqual([
      "UPDATE_STATUS",
      "SET_OUTPUT",
      "UPDATE_STATUS",
      "LOG",
    ]);
  });
});
