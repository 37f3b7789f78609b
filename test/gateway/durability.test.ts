import { randomUUID } from "node:crypto";
import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { CallbackService } from "../../gen/taskgate/v1/callback_pb.ts";
import { ExecutorService } from "../../gen/taskgate/v1/executor_pb.ts";
import { GatewayService } from "../../gen/taskgate/v1/gateway_pb.ts";
import { DeliveryState, type Receipt, WaitFor } from "../../gen/taskgate/v1/receipt_pb.ts";
import { TaskRunStatus, TaskStatusService } from "../../gen/taskgate/v1/task_status_pb.ts";
import { startGateway } from "../../src/gateway.ts";
import type { FaultRule } from "../../src/sandbox/faults.ts";
import { sandboxSettings } from "../../src/sandbox-settings.ts";
import { type Caller, grpcClient, seenError } from "../support/clients.ts";
import { findDelivery, receiptLine, settled, troubled } from "../support/deliveries.ts";
import { useScriptedServer } from "../support/scripted-server.ts";
import { useDirectory } from "../support/use-directory.ts";
import { configOf, recordLog, useGateway } from "../support/use-gateway.ts";
import { useGatewayWithSandbox, useSandbox } from "../support/use-sandbox.ts";

const { updateTask, setOutput, sendLog, heartbeatRun } = TaskStatusService.method;
const { completeCallback } = CallbackService.method;
const { succeedTask, failTask } = ExecutorService.method;
const { getInfo, listDeliveries, discardDelivery } = GatewayService.method;

const refusing: FaultRule = { action: { kind: "answer", status: 503 } };
const waitFor = WaitFor.DELIVERED;

function reportsOf(taskRunId: string) {
  return {
    running: { taskRunId, status: TaskRunStatus.RUNNING },
    succeeded: { taskRunId, status: TaskRunStatus.SUCCEEDED },
    failed: { taskRunId, status: TaskRunStatus.FAILED },
    output: { taskRunId, name: "a", output: { case: "valueJson", value: "1" } } as const,
    log: { taskRunId, name: "a.log", data: "x" },
  };
}

function callbackOf(route: string | undefined, json = '{"return_code":0}') {
  return {
    target: { case: "callbackRoute", value: route ?? "" },
    payload: { case: "json", value: json },
  } as const;
}

async function use(env: Record<string, string> = {}) {
  const used = await useGatewayWithSandbox({ TASKGATE_DRAIN_TIMEOUT: "100ms", ...env });
  const { orchestra } = used.sandbox;
  const taskRunId = randomUUID();
  return {
    ...used,
    caller: grpcClient.connect(used.url),
    orchestra,
    taskRunId,
    ...reportsOf(taskRunId),
    arrived: () => orchestra.taskRuns.get(taskRunId)?.events.map(({ event }) => event.type) ?? [],
  };
}

test("the gateway says that it stores, and how long it remembers", async () => {
  const { caller } = await use();
  expect(await caller.call(getInfo, {})).toMatchObject({
    durable: true,
    requestIdRetention: { seconds: 86_400n, nanos: 0 },
  });
});

describe("a call waits", () => {
  type Ask = (caller: Caller, waitFor: WaitFor) => Promise<{ receipt?: Receipt | undefined }>;
  const id = () => randomUUID();
  const execution = () => ({ id: "task-1", execId: id() });
  const callback = () => callbackOf(`/api/processes/${id()}/callback/${"x".repeat(43)}`);

  test.each<[name: string, unset: "STORED" | "DELIVERED", ask: Ask]>([
    [
      "UpdateTask with RUNNING",
      "STORED",
      (to, wait) => to.call(updateTask, { ...reportsOf(id()).running, waitFor: wait }),
    ],
    [
      "UpdateTask with a message",
      "STORED",
      (to, wait) => to.call(updateTask, { taskRunId: id(), message: "m", waitFor: wait }),
    ],
    ["SetOutput", "STORED", (to, wait) => to.call(setOutput, { ...reportsOf(id()).output, waitFor: wait })],
    ["SendLog", "STORED", (to, wait) => to.call(sendLog, { ...reportsOf(id()).log, waitFor: wait })],
    [
      "UpdateTask with an outcome",
      "DELIVERED",
      (to, wait) => to.call(updateTask, { ...reportsOf(id()).failed, waitFor: wait }),
    ],
    [
      "CompleteCallback",
      "DELIVERED",
      (to, wait) => to.call(completeCallback, { ...callback(), waitFor: wait }),
    ],
    ["SucceedTask", "DELIVERED", (to, wait) => to.call(succeedTask, { ...execution(), waitFor: wait })],
    ["FailTask", "DELIVERED", (to, wait) => to.call(failTask, { ...execution(), waitFor: wait })],
  ])("as %s asks for it, and until it is %s where nothing is asked for", async (_, unset, ask) => {
    const slow = await useScriptedServer(async ({ url }, response) => {
      await new Promise((resolve) => setTimeout(resolve, 100));
      response.writeHead(200, { "content-type": url === "/rpc" ? "text/yaml" : "application/json" });
      response.end(url === "/rpc" ? "result: {resource: {id: task-1, status: done}}" : "null");
    });
    const { url } = await useGateway({
      ORCHESTRA_API_KEY: "key",
      ORCHESTRA_WEBHOOK_URL: slow.origin,
      TASKGATE_ORCHESTRATOR_URL: slow.origin,
      TASKGATE_AIDBOX_URL: slow.origin,
      TASKGATE_AIDBOX_CLIENT_ID: "me",
      TASKGATE_AIDBOX_CLIENT_SECRET: "secret",
    });
    const caller = grpcClient.connect(url);
    const stateAfter = async (wait: WaitFor) => receiptLine((await ask(caller, wait)).receipt);
    expect(await stateAfter(WaitFor.STORED)).toBe("STORED");
    expect(await stateAfter(WaitFor.DELIVERED)).toBe("DELIVERED");
    expect(await stateAfter(WaitFor.UNSPECIFIED)).toBe(unset);
    expect(slow.seen.length).toBeGreaterThanOrEqual(unset === "DELIVERED" ? 3 : 2);
  });

  test("no longer than its deadline allows, and is then answered with what is so far", async () => {
    const { caller, orchestra, failed, arrived } = await use();
    orchestra.faults.add({ action: { kind: "delay", delayMs: 1500 } });
    const startMs = performance.now();
    const { receipt } = await caller.call(updateTask, failed, { timeoutMs: 1000 });
    expect(performance.now() - startMs).toBeLessThan(1000);
    expect(receipt).toMatchObject({ state: DeliveryState.STORED, attempts: 1, inDoubt: false });
    expect((await settled(caller, receipt))?.state).toBe(DeliveryState.DELIVERED);
    expect(arrived()).toEqual(["UPDATE_STATUS"]);
  });

  test("and hears that its report is stored when the gateway stops meanwhile", async () => {
    const { caller, orchestra, failed, gateway } = await use({ TASKGATE_DRAIN_TIMEOUT: "1s" });
    orchestra.faults.add(refusing);
    const answer = caller.call(updateTask, failed, { timeoutMs: 15_000 });
    await expect.poll(() => orchestra.requests.length).toBeGreaterThan(0);
    const [{ receipt }] = await Promise.all([answer, gateway.stop()]);
    expect(receipt?.state).toBe(DeliveryState.STORED);
  });
});

describe("a request_id", () => {
  test("with the same content is answered with what became of the first, and sent once", async () => {
    const { caller, orchestra, running, succeeded, arrived } = await use();
    orchestra.faults.add(refusing);
    const requestId = "r1";
    const { receipt: first } = await caller.call(updateTask, { ...running, message: "m", requestId });
    const { receipt: second } = await caller.call(updateTask, { ...running, message: "m", requestId });
    expect(second).toMatchObject({ deliveryId: first?.deliveryId, state: DeliveryState.STORED });
    orchestra.faults.clear();
    const { sessionId } = await caller.call(heartbeatRun, { taskRunId: running.taskRunId });
    const waiting = { ...running, message: "m", requestId, sessionId, waitFor };
    const { receipt: third } = await caller.call(updateTask, waiting);
    expect(third).toMatchObject({ deliveryId: first?.deliveryId, state: DeliveryState.DELIVERED });
    await caller.call(updateTask, succeeded);
    expect((await caller.call(updateTask, waiting)).receipt).toEqual(third);
    expect(arrived()).toEqual(["UPDATE_STATUS", "UPDATE_STATUS"]);
  });

  test("with other content is refused, whatever differs", async () => {
    const { caller, running, arrived } = await use();
    const requestId = "r1";
    await caller.call(updateTask, { ...running, message: "m", requestId, waitFor });
    for (const other of [
      { ...running, message: "n" },
      { ...running, message: "m", attempt: 1 },
      { ...running, message: "m", taskRunId: randomUUID() },
      { ...running, message: "m", status: TaskRunStatus.FAILED },
    ]) {
      expect(await caller.fail(updateTask, { ...other, requestId })).toMatchObject({
        code: Code.AlreadyExists,
        reason: "REQUEST_ID_REUSED",
      });
    }
    expect(arrived()).toEqual(["UPDATE_STATUS"]);
  });

  test("counts per RPC, and where it is empty not at all", async () => {
    const { caller, running, output, log, arrived } = await use();
    const requestId = "r1";
    const answers = [
      await caller.call(updateTask, { ...running, requestId, waitFor }),
      await caller.call(setOutput, { ...output, requestId, waitFor }),
      await caller.call(sendLog, { ...log, requestId, waitFor }),
      await caller.call(updateTask, { ...running, waitFor }),
      await caller.call(updateTask, { ...running, waitFor }),
    ];
    expect(new Set(answers.map(({ receipt }) => receipt?.deliveryId)).size).toBe(5);
    expect(arrived().length).toBe(5);
  });

  test("of a refused report is answered with the refusal again", async () => {
    const { caller, orchestra, running, arrived } = await use();
    orchestra.faults.add({ action: { kind: "answer", status: 400 } });
    const request = { ...running, requestId: "r1", waitFor };
    const first = await caller.fail(updateTask, request);
    orchestra.faults.clear();
    expect(first).toMatchObject({ reason: "UPSTREAM_REJECTED" });
    expect(await caller.fail(updateTask, request)).toEqual(first);
    expect(arrived()).toEqual([]);
  });
});

describe("a task", () => {
  async function useTwoCallers() {
    const used = await use({ TASKGATE_AUTH_TOKEN: "worker", TASKGATE_ADMIN_TOKEN: "operator" });
    const as = (token: string) => grpcClient.connect(used.url, { authorization: `Bearer ${token}` });
    return { ...used, worker: as("worker"), operator: as("operator") };
  }

  test("belongs to the caller who first named it, and for others there is none", async () => {
    const { worker, operator, running, succeeded, output, log, arrived } = await useTwoCallers();
    await worker.call(updateTask, { ...running, waitFor });
    const unknown = { code: Code.NotFound, reason: "TASK_UNKNOWN" };
    expect(await operator.fail(updateTask, running)).toMatchObject(unknown);
    expect(await operator.fail(updateTask, succeeded)).toMatchObject(unknown);
    expect(await operator.fail(setOutput, output)).toMatchObject(unknown);
    expect(await operator.fail(sendLog, log)).toMatchObject(unknown);
    await operator.call(updateTask, { ...running, attempt: 1 });
    expect(await worker.fail(updateTask, { ...running, attempt: 1 })).toMatchObject(unknown);
    const { receipt: outcome } = await worker.call(updateTask, succeeded);
    expect(outcome?.state).toBe(DeliveryState.DELIVERED);
    expect(await operator.fail(updateTask, succeeded)).toMatchObject(unknown);
    expect(arrived().length).toBe(3);
  });

  test("of an Orchestrator or of Aidbox belongs to its caller as well", async () => {
    const { worker, operator, sandbox } = await useTwoCallers();
    const { callback_route: route } = sandbox.orchestrator.processes.start({});
    await worker.call(completeCallback, callbackOf(route));
    const unknown = { code: Code.NotFound, reason: "TASK_UNKNOWN" };
    expect(await operator.fail(completeCallback, callbackOf(route))).toMatchObject(unknown);
    const attempt = { id: "nobody's", execId: "e1" };
    await worker.fail(failTask, attempt);
    expect(await operator.fail(failTask, attempt)).toMatchObject(unknown);
  });

  test("has a request_id of each caller's own", async () => {
    const { worker, operator, running } = await useTwoCallers();
    const requestId = "r1";
    const first = await worker.call(updateTask, { ...running, requestId });
    const other = await operator.call(updateTask, { ...running, taskRunId: randomUUID(), requestId });
    expect(other.receipt?.deliveryId).not.toBe(first.receipt?.deliveryId);
  });
});

describe("an outcome", () => {
  const conflict = { code: Code.AlreadyExists, reason: "CONFLICTING_OUTCOME" };

  test("that is said again is answered with the first receipt, whatever its message, and sent once", async () => {
    const { caller, orchestra, succeeded, arrived } = await use();
    orchestra.faults.add(refusing);
    const { receipt: first } = await caller.call(updateTask, { ...succeeded, waitFor: WaitFor.STORED });
    const { receipt: second } = await caller.call(updateTask, { ...succeeded, waitFor: WaitFor.STORED });
    expect(second?.deliveryId).toBe(first?.deliveryId);
    orchestra.faults.clear();
    const { receipt: third } = await caller.call(updateTask, { ...succeeded, message: "again" });
    expect(third).toMatchObject({ deliveryId: first?.deliveryId, state: DeliveryState.DELIVERED });
    expect((await caller.call(updateTask, succeeded)).receipt).toEqual(third);
    expect(arrived()).toEqual(["UPDATE_STATUS"]);
  });

  test.each<[name: string, state: DeliveryState, faults: FaultRule[]]>([
    ["waits", DeliveryState.STORED, [refusing]],
    ["has arrived", DeliveryState.DELIVERED, []],
    ["was refused", DeliveryState.REJECTED, [{ action: { kind: "answer", status: 400 } }]],
  ])("that is another one is a conflict when the first %s", async (_, state, faults) => {
    const { caller, orchestra, succeeded, failed } = await use();
    orchestra.faults.set(faults);
    const { receipt } = await caller.call(updateTask, { ...succeeded, waitFor: WaitFor.STORED });
    const deliveryId = receipt?.deliveryId ?? "";
    const last = state === DeliveryState.STORED ? troubled : settled;
    expect((await last(caller, receipt))?.state).toBe(state);
    expect(await caller.fail(updateTask, failed)).toMatchObject({
      ...conflict,
      metadata: { upstream: "orchestra", delivery_id: deliveryId },
    });
    expect(await caller.fail(updateTask, { ...failed, waitFor: WaitFor.STORED })).toMatchObject(conflict);
    expect(orchestra.requests.filter(({ body }) => body.includes("FAILED"))).toEqual([]);
  });

  test("ends its task for everything but logs, and for that attempt only", async () => {
    const { caller, succeeded, running, output, log, arrived } = await use();
    await caller.call(updateTask, succeeded);
    const finished = { code: Code.FailedPrecondition, reason: "TASK_FINISHED" };
    expect(await caller.fail(updateTask, running)).toMatchObject(finished);
    expect(await caller.fail(setOutput, output)).toMatchObject(finished);
    await caller.call(sendLog, { ...log, waitFor });
    await caller.call(updateTask, { ...running, attempt: 1, waitFor });
    expect(arrived()).toEqual(["UPDATE_STATUS", "LOG", "UPDATE_STATUS"]);
  });

  test("that was discarded makes room for another one, of each upstream", async () => {
    const { caller, sandbox, succeeded, failed } = await use();
    const { callback_route: route } = sandbox.orchestrator.processes.start({});
    const execution = { id: randomUUID(), execId: randomUUID() };
    const upstreams = [sandbox.orchestra, sandbox.orchestrator, sandbox.aidbox];
    type Answer = Promise<{ receipt?: Receipt | undefined }>;
    const now = { waitFor: WaitFor.STORED };
    const pairs: [first: () => Answer, other: () => Answer][] = [
      [() => caller.call(updateTask, { ...succeeded, ...now }), () => caller.call(updateTask, failed)],
      [
        () => caller.call(completeCallback, { ...callbackOf(route, "{}"), ...now }),
        () => caller.call(completeCallback, callbackOf(route)),
      ],
      [
        () => caller.call(succeedTask, { ...execution, ...now }),
        () => caller.call(failTask, { ...execution, ...now }),
      ],
    ];
    for (const { faults } of upstreams) {
      faults.add(refusing);
    }
    for (const [first, other] of pairs) {
      const { receipt } = await first();
      expect(receipt?.state).toBe(DeliveryState.STORED);
      expect(await other().catch(seenError)).toMatchObject(conflict);
      await expect
        .poll(() =>
          caller.call(discardDelivery, { deliveryId: receipt?.deliveryId ?? "" }).then(
            ({ delivery }) => delivery?.receipt?.state,
            () => undefined,
          ),
        )
        .toBe(DeliveryState.DISCARDED);
    }
    for (const { faults } of upstreams) {
      faults.clear();
    }
    const others = await Promise.all(pairs.map(([, other]) => other()));
    expect(others.slice(0, 2).map(({ receipt }) => receipt?.state)).toEqual([
      DeliveryState.DELIVERED,
      DeliveryState.DELIVERED,
    ]);
    expect(others[2]?.receipt?.state).toBe(DeliveryState.STORED);
    expect(sandbox.orchestra.taskRuns.get(failed.taskRunId)?.status).toBe("FAILED");
  });
});

describe("a gateway on the directory of another one", () => {
  test("goes on with what was stored, in its order, and knows what it knew", async () => {
    const sandbox = await useSandbox();
    const env = { TASKGATE_DATA_DIR: useDirectory(), TASKGATE_DRAIN_TIMEOUT: "100ms" };
    const { orchestra, orchestrator } = sandbox;
    const taskRunId = randomUUID();
    const { running, output, succeeded, failed, log } = reportsOf(taskRunId);
    const { process_id: processId, callback_route: route } = orchestrator.processes.start({});

    const before = await useGateway(env, sandboxSettings(sandbox));
    const first = grpcClient.connect(before.url);
    for (const { faults } of [orchestra, orchestrator]) {
      faults.add(refusing);
    }
    const stored = [
      await first.call(updateTask, { ...running, requestId: "r1" }),
      await first.call(setOutput, output),
      await first.call(updateTask, { ...succeeded, waitFor: WaitFor.STORED }),
      await first.call(sendLog, log),
      await first.call(completeCallback, { ...callbackOf(route), waitFor: WaitFor.STORED }),
    ];
    expect(stored.map(({ receipt }) => receipt?.state)).toEqual(stored.map(() => DeliveryState.STORED));
    await before.gateway.stop();
    for (const { faults } of [orchestra, orchestrator]) {
      faults.clear();
    }

    const after = await useGateway(env, sandboxSettings(sandbox));
    const second = grpcClient.connect(after.url);
    for (const { receipt } of stored) {
      expect(await settled(second, receipt)).toMatchObject({
        deliveryId: receipt?.deliveryId,
        state: DeliveryState.DELIVERED,
        createTime: receipt?.createTime,
      });
    }
    const { events, logs } = orchestra.taskRuns.get(taskRunId) ?? {};
    expect(events?.map(({ event }) => event.type)).toEqual([
      "UPDATE_STATUS",
      "SET_OUTPUT",
      "UPDATE_STATUS",
      "LOG",
    ]);
    expect(logs?.length).toBe(1);
    expect(orchestrator.processes.get(processId)).toMatchObject({ status: "completed", validations: 1 });
    const again = await second.call(updateTask, { ...running, requestId: "r1" });
    expect(again.receipt?.deliveryId).toBe(stored[0]?.receipt?.deliveryId);
    expect(await second.fail(updateTask, failed)).toMatchObject({ reason: "CONFLICTING_OUTCOME" });
    expect(await second.fail(setOutput, output)).toMatchObject({ reason: "TASK_FINISHED" });
    expect(orchestra.taskRuns.get(taskRunId)?.events.length).toBe(4);
  });

  test("takes an attempt that was under way at the end for one in doubt", async () => {
    const sandbox = await useSandbox();
    const env = { TASKGATE_DATA_DIR: useDirectory(), TASKGATE_DRAIN_TIMEOUT: "100ms" };
    const { orchestra } = sandbox;
    const { running } = reportsOf(randomUUID());
    const before = await useGateway(env, sandboxSettings(sandbox));
    orchestra.faults.add({ action: { kind: "hang" } });
    const { receipt } = await grpcClient.connect(before.url).call(updateTask, running);
    await expect.poll(() => orchestra.requests.length).toBe(1);
    await before.gateway.stop();
    await orchestra.faults.setDown(true);

    const after = await useGateway(env, sandboxSettings(sandbox));
    const caller = grpcClient.connect(after.url);
    expect((await findDelivery(caller, receipt)).receipt).toMatchObject({
      state: DeliveryState.STORED,
      inDoubt: true,
    });
    orchestra.faults.clear();
    await orchestra.faults.setDown(false);
    expect(await settled(caller, receipt)).toMatchObject({ state: DeliveryState.DELIVERED, inDoubt: false });
    expect(orchestra.taskRuns.get(running.taskRunId)?.events.length).toBe(1);
  });

  test("leaves out a status that the outcome has overtaken while the other one stopped", async () => {
    const sandbox = await useSandbox();
    const directory = useDirectory();
    const { orchestra } = sandbox;
    const taskRunId = randomUUID();
    const { running, output, succeeded } = reportsOf(taskRunId);
    const before = await useGateway(
      { TASKGATE_DATA_DIR: directory, TASKGATE_DRAIN_TIMEOUT: "10s" },
      sandboxSettings(sandbox),
    );
    const first = grpcClient.connect(before.url);
    orchestra.faults.add({ times: 1, action: { kind: "delay", delayMs: 700 } });
    await first.call(updateTask, { ...running, message: "begun" });
    const { receipt: overtaken } = await first.call(updateTask, { ...running, message: "half way" });
    await first.call(setOutput, output);
    await first.call(updateTask, { ...succeeded, waitFor: WaitFor.STORED });
    const startMs = performance.now();
    await before.gateway.stop();
    expect(performance.now() - startMs).toBeLessThan(5000);
    expect(orchestra.taskRuns.get(taskRunId)).toMatchObject({ status: "SUCCEEDED", message: "begun" });
    expect(orchestra.taskRuns.get(taskRunId)?.events.length).toBe(3);

    const after = await useGateway({ TASKGATE_DATA_DIR: directory }, sandboxSettings(sandbox));
    const caller = grpcClient.connect(after.url);
    expect((await findDelivery(caller, overtaken)).receipt).toMatchObject({
      state: DeliveryState.SUPERSEDED,
      attempts: 0,
    });
    expect((await caller.call(listDeliveries, { states: [DeliveryState.STORED] })).deliveries).toEqual([]);
  });

  test("does not start while that one serves, which goes on, and starts when it has stopped", async () => {
    const { caller, gateway, config, running } = await use();
    const { directory } = config.outbox;
    const other = configOf({
      TASKGATE_LISTEN: "127.0.0.1:0",
      TASKGATE_OPS_LISTEN: "off",
      TASKGATE_DATA_DIR: directory,
    });
    const start = () => startGateway({ config: other, version: "0", log: recordLog([]) });
    await expect(start()).rejects.toThrow(`the data directory ${directory} is in use by another gateway`);
    expect((await caller.call(updateTask, { ...running, waitFor })).receipt?.state).toBe(
      DeliveryState.DELIVERED,
    );
    await gateway.stop();
    await (await start()).stop();
  });
});

describe("a full outbox", () => {
  const full = { code: Code.ResourceExhausted, reason: "OUTBOX_FULL", retryAfterMs: 5000 };

  test("refuses reports, takes outcomes into its reserve, and has room again when they have left", async () => {
    const { caller, orchestra, sandbox, running, succeeded, output } = await use({
      TASKGATE_OUTBOX_MAX_ROWS: "20",
    });
    orchestra.faults.add(refusing);
    const { receipt: first } = await caller.call(updateTask, running);
    for (let count = 1; count < 18; count += 1) {
      await caller.call(setOutput, output);
    }
    expect(await caller.fail(setOutput, output)).toMatchObject({
      ...full,
      message: "the outbox has no room: 18 reports wait for orchestra",
      metadata: { upstream: "orchestra" },
    });
    expect(await caller.fail(sendLog, reportsOf(randomUUID()).log)).toMatchObject(full);
    const outcomes = [succeeded, reportsOf(randomUUID()).failed];
    for (const outcome of outcomes) {
      const { receipt } = await caller.call(updateTask, { ...outcome, waitFor: WaitFor.STORED });
      expect(receipt?.state).toBe(DeliveryState.STORED);
    }
    expect(await caller.fail(updateTask, reportsOf(randomUUID()).failed)).toMatchObject(full);
    await caller.call(updateTask, { ...succeeded, waitFor: WaitFor.STORED });

    const { callback_route: route } = sandbox.orchestrator.processes.start({});
    const { receipt: elsewhere } = await caller.call(completeCallback, callbackOf(route));
    expect(elsewhere?.state).toBe(DeliveryState.DELIVERED);

    orchestra.faults.clear();
    await settled(caller, first);
    await expect
      .poll(() => caller.call(sendLog, reportsOf(randomUUID()).log).then(() => "taken", seenError))
      .toBe("taken");
  });

  test("counts bytes as well, and a refused report may come again under its request_id", async () => {
    const { caller, orchestra, running, failed } = await use({ TASKGATE_OUTBOX_MAX_BYTES: "10000" });
    orchestra.faults.add(refusing);
    const message = "x".repeat(9500);
    const request = { ...running, message, requestId: "r1" };
    expect(await caller.fail(updateTask, request)).toMatchObject({
      ...full,
      message: "the outbox has no room: reports of 0 bytes wait for orchestra",
    });
    const outcome = { ...failed, attempt: 1, message };
    const { receipt } = await caller.call(updateTask, { ...outcome, waitFor: WaitFor.STORED });
    expect(receipt?.state).toBe(DeliveryState.STORED);
    expect(await caller.fail(sendLog, reportsOf(randomUUID()).log)).toMatchObject(full);
    orchestra.faults.clear();
    expect((await settled(caller, receipt))?.state).toBe(DeliveryState.DELIVERED);
    await caller.call(updateTask, { ...request, message: "y" });
  });
});
