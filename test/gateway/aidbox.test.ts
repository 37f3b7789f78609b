import { randomUUID } from "node:crypto";
import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import { ExecutorService } from "../../gen/taskgate/v1/executor_pb.ts";
import { DeliveryState, WaitFor } from "../../gen/taskgate/v1/receipt_pb.ts";
import { Directive } from "../../gen/taskgate/v1/session_pb.ts";
import type { FaultRule } from "../../src/sandbox/faults.ts";
import { type Caller, grpcClient, testClients } from "../support/clients.ts";
import { receiptLine, settled, troubled } from "../support/deliveries.ts";
import { useGatewayWithSandbox } from "../support/use-sandbox.ts";

const rpc = ExecutorService.method;

async function pollOne(caller: Caller, definition: string) {
  const { tasks } = await caller.call(rpc.longPollTasks, {
    taskDefinitions: [definition],
    timeout: { seconds: 5n, nanos: 0 },
  });
  const [task] = tasks;
  if (task === undefined) {
    throw new Error(`there is no task of ${definition}`);
  }
  const { id, execId, status, resourceJson } = task;
  return { id, execId, status, resourceJson };
}

describe.each(testClients)("Aidbox's queue, over $name", (client) => {
  test("A-10 A-12 A-13 A-14 A-15 A-18 A-63 a task goes from its creation to its end", async () => {
    const { url, sandbox } = await useGatewayWithSandbox({ TASKGATE_FAST_LANE: String(client.fastLane) });
    const caller = client.connect(url);
    const params =
      '{"day":"2021-10-25","yes":"yes","time":"12:30","text":"a: b\\n- c # d\\u2028é😀","n":1e3}';
    const { task: created } = await caller.call(rpc.createTask, {
      definition: "a/b",
      label: "2021-10-25",
      input: { case: "paramsJson", value: params },
    });
    expect(created).toMatchObject({ status: "ready", label: "2021-10-25" });
    const task = await pollOne(caller, "a/b");
    expect(task).toMatchObject({ id: created?.id, status: "requested" });
    expect(JSON.parse(task.resourceJson).params).toEqual(JSON.parse(params));
    expect((await caller.call(rpc.startTask, task)).task).toMatchObject({ status: "in-progress" });
    const beat = await caller.call(rpc.heartbeatTask, { id: task.id, execId: task.execId, message: "on" });
    expect(beat.directive).toBe(Directive.CONTINUE);
    expect(beat.leaseExpireTime).toBeDefined();
    await caller.call(rpc.reportTaskProgress, { id: task.id, execId: task.execId, current: 1n, total: 2n });
    const done = await caller.call(rpc.succeedTask, {
      id: task.id,
      execId: task.execId,
      outcome: { case: "resultJson", value: '["no", null, 1.50]' },
    });
    expect(done.task).toMatchObject({ status: "done", outcome: "succeeded" });
    expect(sandbox.aidbox.tasks.get(task.id)?.resource).toMatchObject({ result: ["no", null, 1.5] });
  });
});

async function useAidbox(
  options: Parameters<typeof useGatewayWithSandbox>[1] = {},
  env: Record<string, string> = {},
) {
  const used = await useGatewayWithSandbox(
    { TASKGATE_AIDBOX_TIMEOUT: "10s", TASKGATE_DRAIN_TIMEOUT: "100ms", ...env },
    options,
  );
  const { aidbox } = used.sandbox;
  const caller = grpcClient.connect(used.url);
  return {
    ...used,
    caller,
    aidbox,
    /** A task that is in progress. */
    async begin(definition = "a/b") {
      await caller.call(rpc.createTask, { definition });
      const { id, execId } = await pollOne(caller, definition);
      await caller.call(rpc.startTask, { id, execId });
      aidbox.clearRequests();
      return { id, execId };
    },
    methods: () => aidbox.requests.map(({ body }) => String(parse(body, { version: "1.1" }).method)),
  };
}

describe("what Aidbox refuses", () => {
  test("A-58 A-63 an attempt that was not started in time, and one that fell silent", async () => {
    const timers = { inProgressTimeout: 80, retryDelay: 10, allowedRetryCount: 3 };
    const { caller, aidbox } = await useAidbox({
      aidbox: { definitions: { "a/b": { ...timers, requestedToStartTimeout: 50 } } },
    });
    await caller.call(rpc.createTask, { definition: "a/b" });
    const late = await pollOne(caller, "a/b");
    // However slow this machine is, the others must not be late as well, nor the last one fall silent.
    aidbox.definitions.define("a/b", { ...timers, requestedToStartTimeout: 60_000 });
    const second = await pollOne(caller, "a/b");
    expect(second.id).toBe(late.id);
    expect(await caller.fail(rpc.startTask, late)).toMatchObject({
      code: Code.FailedPrecondition,
      reason: "LEASE_SUPERSEDED",
    });
    await caller.call(rpc.startTask, second);
    const third = await pollOne(caller, "a/b");
    aidbox.definitions.define("a/b", { inProgressTimeout: 60_000 });
    await caller.call(rpc.startTask, third);
    const { id, execId } = second;
    expect(await caller.call(rpc.heartbeatTask, { id, execId })).toMatchObject({
      directive: Directive.CANCEL,
      cause: ErrorReason.LEASE_SUPERSEDED,
    });
    expect(await caller.fail(rpc.succeedTask, { id, execId })).toMatchObject({
      code: Code.FailedPrecondition,
      reason: "LEASE_SUPERSEDED",
      metadata: { http_status: "422" },
    });
  });

  test("A-59 A-64 A-65 a second outcome, a second creation, a cancel that comes late, parameters that lack a key", async () => {
    const { caller, aidbox } = await useAidbox({
      aidbox: { definitions: { "a/b": { requiredParamsKeys: ["needed"] } } },
    });
    expect(await caller.fail(rpc.createTask, { definition: "a/b" })).toMatchObject({
      reason: "UPSTREAM_REJECTED",
      message: expect.stringContaining(":needed is required"),
    });
    const id = randomUUID();
    const creation = {
      definition: "a/b",
      id,
      input: { case: "paramsJson", value: '{"needed":1}' },
    } as const;
    await caller.call(rpc.createTask, creation);
    expect(await caller.fail(rpc.createTask, creation)).toMatchObject({
      reason: "UPSTREAM_REJECTED",
      metadata: { task_id: id },
    });
    const { execId } = await pollOne(caller, "a/b");
    await caller.call(rpc.startTask, { id, execId });
    const first = await caller.call(rpc.succeedTask, { id, execId });
    aidbox.clearRequests();
    expect(await caller.call(rpc.succeedTask, { id, execId })).toEqual(first);
    expect(await caller.fail(rpc.failTask, { id, execId })).toMatchObject({
      code: Code.AlreadyExists,
      reason: "CONFLICTING_OUTCOME",
    });
    expect(aidbox.requests).toEqual([]);
    // What a worker is told that talks to Aidbox by itself.
    const again = await fetch(`${aidbox.url}/rpc`, {
      method: "POST",
      headers: {
        "content-type": "text/yaml",
        authorization: `Basic ${btoa(`${aidbox.clientId}:${aidbox.clientSecret}`)}`,
      },
      body: `{method: awf.task/success, params: {id: '${id}', execId: '${execId}'}}`,
    });
    expect(again.status).toBe(422);
    expect(await caller.fail(rpc.cancelTask, { id })).toMatchObject({ reason: "TASK_FINISHED" });
  });

  test("A-46 calls without the right credentials, and those that a policy denies", async () => {
    const { caller } = await useAidbox({ aidbox: { deniedMethods: ["awf.task/list"] } });
    expect(await caller.fail(rpc.listTasks, {})).toMatchObject({
      reason: "UPSTREAM_AUTH",
      message: "aidbox answered 403: Forbidden",
    });
    const { sandbox } = await useAidbox();
    const wrong = await useGatewayWithSandbox(
      {},
      {},
      { aidboxUrl: sandbox.aidbox.url, aidboxClientSecret: "wrong-secret" },
    );
    const error = await grpcClient.connect(wrong.url).fail(rpc.listTasks, {});
    expect(error).toMatchObject({ code: Code.FailedPrecondition, reason: "UPSTREAM_AUTH" });
    expect(JSON.stringify(error)).not.toContain("wrong-secret");
  });
});

test("A-22 A-23 A-24 A-43 a workflow is decided, watched and cancelled", async () => {
  const { caller } = await useAidbox();
  const { workflow } = await caller.call(rpc.createWorkflow, { definition: "a/wf" });
  const { tasks } = await caller.call(rpc.pollTasks, { workflowDefinitions: ["a/wf"] });
  const [decision] = tasks;
  expect(decision?.decision).toMatchObject({
    workflowId: workflow?.id,
    workflowDefinition: "a/wf",
    event: "awf.workflow.event/workflow-init",
  });
  const attempt = { id: decision?.id ?? "", execId: decision?.execId ?? "" };
  await caller.call(rpc.startTask, attempt);
  await caller.call(rpc.succeedTask, {
    ...attempt,
    outcome: {
      case: "actions",
      value: {
        actions: [{ action: { case: "scheduleTask", value: { definition: "a/step", label: "one" } } }],
      },
    },
  });
  const id = workflow?.id ?? "";
  const found = await caller.call(rpc.getWorkflow, { id, includeActivities: true, includeDecisions: true });
  expect(found).toMatchObject({
    workflow: { id, status: "in-progress" },
    activities: [
      { activity: { case: "task", value: { definition: "a/step", label: "one", status: "ready" } } },
    ],
    decisions: [{ id: attempt.id, status: "done" }],
  });
  expect((await caller.call(rpc.listWorkflows, { status: "in-progress" })).workflows).toMatchObject([{ id }]);
  expect((await caller.call(rpc.cancelWorkflow, { id })).workflow).toMatchObject({ outcome: "canceled" });
  expect(await caller.fail(rpc.cancelWorkflow, { id })).toMatchObject({
    reason: "TASK_CANCELLED",
    metadata: { upstream_type: "workflow-has-been-done" },
  });
});

describe("an outcome for Aidbox", () => {
  const answerIsLost: FaultRule = { match: { method: "awf.task/success" }, action: { kind: "reset" } };

  test("A-19 A-57 A-59 that was taken, and its answer was lost, is delivered by asking, and sent once", async () => {
    const { caller, aidbox, begin, methods } = await useAidbox();
    const attempt = await begin();
    aidbox.faults.add({ ...answerIsLost, when: "after" });
    const done = await caller.call(rpc.succeedTask, {
      ...attempt,
      outcome: { case: "resultJson", value: "[1.50]" },
    });
    expect(done.receipt).toMatchObject({ state: DeliveryState.DELIVERED, attempts: 2, inDoubt: false });
    expect(done.task).toMatchObject({ id: attempt.id, status: "done", outcome: "succeeded" });
    expect(methods()).toEqual(["awf.task/success", "awf.task/status"]);
  });

  test("A-19 A-57 that was not taken is sent again, once the task says so", async () => {
    const { caller, aidbox, begin, methods } = await useAidbox();
    const attempt = await begin();
    aidbox.faults.add({ ...answerIsLost, times: 1 });
    const done = await caller.call(rpc.succeedTask, attempt);
    expect(done.receipt).toMatchObject({ state: DeliveryState.DELIVERED, attempts: 2, inDoubt: false });
    expect(methods()).toEqual(["awf.task/success", "awf.task/status", "awf.task/success"]);
    expect(aidbox.tasks.get(attempt.id)?.resource).toMatchObject({ status: "done", outcome: "succeeded" });
  });

  test("A-19 A-57 that is in doubt while another attempt of the task begins is refused", async () => {
    const { caller, aidbox, begin } = await useAidbox(
      {
        aidbox: { definitions: { "a/b": { inProgressTimeout: 60, retryDelay: 10, allowedRetryCount: 3 } } },
      },
      { TASKGATE_AIDBOX_TIMEOUT: "500ms" },
    );
    const attempt = await begin();
    aidbox.faults.add({ match: { method: "awf.task/success" }, action: { kind: "hang" } });
    const outcome = caller.fail(rpc.succeedTask, attempt);
    const next = await pollOne(caller, "a/b");
    expect(next.id).toBe(attempt.id);
    expect(await outcome).toMatchObject({ code: Code.FailedPrecondition, reason: "LEASE_SUPERSEDED" });
  });

  test("A-19 A-50 A-57 a failure that was taken, and its answer was lost, with attempts left: nobody can confirm it", async () => {
    const { caller, aidbox, begin } = await useAidbox();
    const attempt = await begin();
    aidbox.faults.add({ match: { method: "awf.task/fail" }, when: "after", action: { kind: "reset" } });
    const { receipt } = await caller.call(rpc.failTask, attempt);
    expect(aidbox.tasks.get(attempt.id)?.resource).toMatchObject({ status: "waiting" });
    expect(receipt).toMatchObject({ state: DeliveryState.UNCONFIRMED, attempts: 2 });
  });

  test("A-45 A-59 that its schema refuses leaves the task open: a success can become a failure", async () => {
    const { caller, aidbox, begin } = await useAidbox({
      aidbox: { definitions: { "a/b": { requiredResultKeys: ["needed"], allowedRetryCount: 1 } } },
    });
    const attempt = await begin();
    const error = await caller.fail(rpc.succeedTask, {
      ...attempt,
      outcome: { case: "resultJson", value: "{}" },
    });
    expect(error).toMatchObject({
      code: Code.FailedPrecondition,
      reason: "UPSTREAM_REJECTED",
      message: expect.stringContaining(":needed is required"),
      metadata: { task_open: "true", delivery_id: expect.any(String) },
    });
    const { receipt, task } = await caller.call(rpc.failTask, attempt);
    expect(receipt?.state).toBe(DeliveryState.DELIVERED);
    expect(receipt?.deliveryId).not.toBe(error.metadata.delivery_id);
    expect(task).toMatchObject({ status: "done", outcome: "failed" });
    expect(aidbox.tasks.get(attempt.id)?.resource).toMatchObject({ outcome: "failed" });
    expect(await caller.fail(rpc.succeedTask, attempt)).toMatchObject({ reason: "CONFLICTING_OUTCOME" });
  });

  test("A-46 with refused credentials is stored at once, and arrives with the right ones", async () => {
    const { caller, aidbox, begin, methods } = await useAidbox();
    const attempt = await begin();
    aidbox.faults.add({ action: { kind: "answer", status: 401 } });
    const startMs = performance.now();
    const { receipt, task } = await caller.call(rpc.succeedTask, attempt);
    expect(performance.now() - startMs).toBeLessThan(5000);
    expect(receiptLine(receipt)).toBe("STORED FailedPrecondition UPSTREAM_AUTH aidbox answered 401");
    expect(task).toBeUndefined();
    aidbox.faults.clear();
    const last = await settled(caller, receipt);
    expect(last?.state).toBe(DeliveryState.DELIVERED);
    expect(methods().length).toBe(last?.attempts);
    expect(aidbox.tasks.get(attempt.id)?.resource).toMatchObject({ outcome: "succeeded" });
  });

  test.each<[name: string, fault: FaultRule, expected: string]>([
    ["A-56 429", { action: { kind: "answer", status: 429 } }, "Unavailable UPSTREAM_UNAVAILABLE"],
    ["A-56 503", { action: { kind: "answer", status: 503 } }, "Unavailable UPSTREAM_UNAVAILABLE"],
    ["A-57 500", { action: { kind: "answer", status: 500 } }, "in doubt Unknown UPSTREAM_UNCERTAIN"],
    ["A-48 a page", { action: { kind: "html" } }, "in doubt Unknown UPSTREAM_UNCERTAIN"],
    ["A-48 an alias bomb", { action: { kind: "yamlBomb" } }, "in doubt Unknown UPSTREAM_UNCERTAIN"],
    ["A-57 no answer", { action: { kind: "hang" } }, "in doubt Unknown UPSTREAM_UNCERTAIN"],
  ])("%s leaves it stored, and it arrives once when that is over", async (_, fault, expected) => {
    const env = fault.action.kind === "hang" ? { TASKGATE_AIDBOX_TIMEOUT: "500ms" } : {};
    const { caller, aidbox, begin, methods } = await useAidbox({}, env);
    const attempt = await begin();
    const match = { method: "awf.task/success" };
    const id = aidbox.faults.add({ ...fault, match });
    const stored = await caller.call(rpc.succeedTask, { ...attempt, waitFor: WaitFor.STORED });
    const receipt = await troubled(caller, stored.receipt);
    expect(receiptLine(receipt)).toMatch(new RegExp(`^STORED ${expected} aidbox `));
    const struck = aidbox.faults.fired(id);
    aidbox.faults.clear();
    expect(await settled(caller, receipt)).toMatchObject({
      state: DeliveryState.DELIVERED,
      attempts: struck + 1,
      inDoubt: false,
    });
    expect(methods().filter((method) => method === "awf.task/success").length).toBe(struck + 1);
    expect(aidbox.tasks.get(attempt.id)?.resource).toMatchObject({ status: "done", outcome: "succeeded" });
  });

  test("A-13 A-63 that waits keeps its task alive: the gateway beats for it", async () => {
    const { caller, aidbox, begin, methods } = await useAidbox(
      { aidbox: { definitions: { "a/b": { inProgressTimeout: 500 } } } },
      { TASKGATE_HEARTBEAT_INTERVAL: "100ms", TASKGATE_LEASE_DURATION: "300ms" },
    );
    const attempt = await begin();
    aidbox.faults.add({ match: { method: "awf.task/success" }, action: { kind: "answer", status: 503 } });
    const { receipt } = await caller.call(rpc.succeedTask, { ...attempt, waitFor: WaitFor.STORED });
    await expect
      .poll(() => methods().filter((method) => method === "awf.task/notify").length, { timeout: 5000 })
      .toBeGreaterThan(7);
    expect(aidbox.tasks.get(attempt.id)?.resource).toMatchObject({
      status: "in-progress",
      execId: attempt.execId,
    });
    aidbox.faults.clear();
    expect((await settled(caller, receipt))?.state).toBe(DeliveryState.DELIVERED);
    const beats = methods().length;
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(methods().length).toBe(beats);
  });

  test("A-13 A-63 that takes Aidbox longer than its lease keeps its task alive as well", async () => {
    const { caller, aidbox, begin, methods } = await useAidbox(
      { aidbox: { definitions: { "a/b": { inProgressTimeout: 500 } } } },
      { TASKGATE_HEARTBEAT_INTERVAL: "100ms", TASKGATE_LEASE_DURATION: "300ms" },
    );
    const attempt = await begin();
    aidbox.faults.add({ match: { method: "awf.task/success" }, action: { kind: "delay", delayMs: 1500 } });
    const { receipt } = await caller.call(rpc.succeedTask, attempt);
    expect(receiptLine(receipt)).toBe("DELIVERED");
    expect(methods().filter((method) => method === "awf.task/notify").length).toBeGreaterThan(4);
    expect(aidbox.tasks.get(attempt.id)?.resource).toMatchObject({ status: "done", outcome: "succeeded" });
  });
});

describe("an Aidbox in trouble", () => {
  test.each<[name: string, fault: FaultRule, read: string, change: string]>([
    ["A-48 a page", { action: { kind: "html" } }, "Unavailable", "Unknown"],
    ["A-48 an alias bomb", { action: { kind: "yamlBomb" } }, "Unavailable", "Unknown"],
    ["A-48 deep nesting", { action: { kind: "deepNesting", depth: 100_000 } }, "Unavailable", "Unknown"],
    ["A-57 a body without end", { action: { kind: "endless" } }, "Unavailable", "Unknown"],
    ["A-57 a body that drips", { action: { kind: "dribble", intervalMs: 100 } }, "Unavailable", "Unknown"],
    ["A-57 taken, and a reset", { when: "after", action: { kind: "reset" } }, "Unavailable", "Unknown"],
    ["A-57 no answer", { action: { kind: "hang" } }, "Unavailable", "Unknown"],
    ["A-55 413", { action: { kind: "answer", status: 413 } }, "FailedPrecondition", "FailedPrecondition"],
    ["A-56 503", { action: { kind: "answer", status: 503 } }, "Unavailable", "Unavailable"],
    ["A-57 504", { action: { kind: "answer", status: 504 } }, "Unavailable", "Unknown"],
    [
      "a redirect",
      { action: { kind: "redirect", status: 302, location: "/login" } },
      "FailedPrecondition",
      "FailedPrecondition",
    ],
  ])("%s has its code", async (_, fault, read, change) => {
    const { caller, aidbox } = await useAidbox({}, { TASKGATE_AIDBOX_TIMEOUT: "1s" });
    const id = aidbox.faults.add(fault);
    const seenRead = await caller.fail(rpc.getTask, { id: "x" });
    const seenChange = await caller.fail(rpc.createTask, { definition: "a/b" });
    expect([Code[seenRead.code], Code[seenChange.code]]).toEqual([read, change]);
    expect(aidbox.faults.fired(id)).toBe(2);
    aidbox.faults.clear();
    await caller.call(rpc.createTask, { definition: "a/b" });
  });
});
