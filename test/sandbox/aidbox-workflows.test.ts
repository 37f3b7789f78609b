import { expect, test } from "vitest";
import { type Loose, simulateAidbox } from "./aidbox-simulation.ts";

const action = (name: string, more: object = {}) => ({ action: `awf.workflow.action/${name}`, ...more });
const task = (definition: string, more: object = {}) =>
  action("schedule-task", { "task-request": { definition, params: {}, ...more } });

/** An Aidbox in which a workflow was created. */
async function simulateWorkflow() {
  const simulated = simulateAidbox();
  const { must, poll } = simulated;
  const { resource } = await must("awf.workflow/create-and-execute", {
    definition: "ns/flow",
    params: { who: "me" },
    label: "the flow",
  });

  /** Polls and starts the next decision task of a workflow. */
  async function nextDecision(workflow = "ns/flow"): Promise<Loose> {
    const [decision] = await poll({ workflowDefinitions: [workflow] });
    if (decision === undefined) {
      return undefined;
    }
    await must("awf.task/start", { id: decision.id, execId: decision.execId });
    return decision;
  }

  return {
    ...simulated,
    workflow: resource,
    nextDecision,
    /** Answers the next decision task. */
    async decide(result: unknown, workflow = "ns/flow") {
      const decision = await nextDecision(workflow);
      await must("awf.task/success", { id: decision.id, execId: decision.execId, result });
      return decision;
    },
    /** Polls, starts and succeeds the next task of a definition. */
    async work(definition: string) {
      const [{ id, execId }] = await poll({ taskDefinitions: [definition] });
      await must("awf.task/start", { id, execId });
      await must("awf.task/success", { id, execId, result: "worked" });
      return id;
    },
    status: async (id = resource.id) =>
      await must("awf.workflow/status", { id, "include-activities?": true, "include-decisions?": true }),
  };
}

test("a workflow begins in progress, with a decision task that says so", async () => {
  const { workflow, poll } = await simulateWorkflow();
  expect(workflow).toMatchObject({
    resourceType: "AidboxWorkflow",
    definition: "ns/flow",
    status: "in-progress",
    params: { who: "me" },
    label: "the flow",
  });
  const [decision] = await poll({ workflowDefinitions: ["ns/flow"] });
  expect(decision).toMatchObject({
    resourceType: "AidboxTask",
    definition: "awf.workflow/decision-task",
    "workflow-definition": "ns/flow",
    requester: { id: workflow.id, resourceType: "AidboxWorkflow" },
    params: { event: "awf.workflow.event/workflow-init" },
    status: "requested",
    execId: expect.any(String),
  });
});

test("a workflow goes from its first decision over two tasks to its end", async () => {
  const { workflow, decide, nextDecision, work, status } = await simulateWorkflow();
  await decide([task("ns/a", { label: "first", params: { n: 1 } }), task("ns/b")]);
  expect((await status()).activities).toMatchObject([
    {
      definition: "ns/a",
      label: "first",
      params: { n: 1 },
      requester: { id: workflow.id, resourceType: "AidboxWorkflow" },
    },
    { definition: "ns/b" },
  ]);
  const a = await work("ns/a");
  expect((await decide([action("do-nothing")])).params).toEqual({
    event: "awf.workflow.event/task-completed",
    "task-id": a,
  });
  await work("ns/b");
  await decide([action("complete-workflow", { result: "Finished" })]);
  const { resource, decisions } = await status();
  expect(resource).toMatchObject({ status: "done", outcome: "succeeded", result: "Finished" });
  expect(decisions).toHaveLength(3);
  expect(await nextDecision()).toBeUndefined();
});

test.each([[[]], [undefined], [[action("do-nothing")]]])("%j is a decision to do nothing", async (result) => {
  const { decide, status } = await simulateWorkflow();
  await decide(result);
  expect((await status()).resource.status).toBe("in-progress");
});

test.each([
  ["no list", { action: "awf.workflow.action/do-nothing" }],
  ["a list of no objects", ["do-nothing"]],
  ["an unknown action", [action("explode")]],
  ["an action without its namespace", [{ action: "do-nothing" }]],
  ["a task without a request", [action("schedule-task")]],
  ["a task without a definition", [action("schedule-task", { "task-request": { params: {} } })]],
  ["a task whose params are no object", [task("ns/a", { params: [] })]],
  ["a task whose label is no string", [task("ns/a", { label: 1 })]],
  ["a task whose time is none", [task("ns/a", { executeAt: "soon" })]],
  ["a label twice", [task("ns/a", { label: "x" }), task("ns/b", { label: "x" })]],
  ["an id twice", [task("ns/a", { id: "x" }), task("ns/b", { id: "x" })]],
])("%s is no decision: it is refused whole, and can be made again", async (_what, result) => {
  const { nextDecision, call, must, status } = await simulateWorkflow();
  const { id, execId } = await nextDecision();
  const refused = await call("awf.task/success", { id, execId, result });
  expect(refused.status).toBe(422);
  expect((await status()).activities).toEqual([]);
  await must("awf.task/success", { id, execId, result: [task("ns/a")] });
  expect((await status()).activities).toHaveLength(1);
});

test("a label that the workflow has used already is refused", async () => {
  const { decide, nextDecision, work, call } = await simulateWorkflow();
  await decide([task("ns/a", { label: "x" })]);
  await work("ns/a");
  const { id, execId } = await nextDecision();
  const { status, body } = await call("awf.task/success", {
    id,
    execId,
    result: [task("ns/a", { label: "x" })],
  });
  expect([status, body.error.message]).toEqual([422, expect.stringContaining("x")]);
});

test("a workflow can be failed by decision, with an error or without knowing why", async () => {
  const failed = await simulateWorkflow();
  await failed.decide([action("fail", { error: { why: "x" } })]);
  expect((await failed.status()).resource).toMatchObject({
    status: "done",
    outcome: "failed",
    error: { why: "x" },
    outcomeReason: { type: "awf.workflow/failed-by-executor" },
  });
  const unknown = await simulateWorkflow();
  await unknown.decide([action("unknown-error")]);
  expect((await unknown.status()).resource).toMatchObject({
    outcome: "failed",
    outcomeReason: { type: "awf.executor/unknown-error" },
  });
});

test("actions after the end of a workflow do nothing", async () => {
  const { decide, status } = await simulateWorkflow();
  await decide([action("complete-workflow"), task("ns/a"), action("fail")]);
  expect(await status()).toMatchObject({ resource: { outcome: "succeeded" }, activities: [] });
});

test("a decision that fails is asked for again, and fails its workflow for good in the end", async () => {
  const { clock, nextDecision, must, status } = await simulateWorkflow();
  const first = await nextDecision();
  const { resource } = await must("awf.task/fail", { id: first.id, execId: first.execId });
  expect(resource.status).toBe("waiting");
  await clock.advance(10_000);
  const second = await nextDecision();
  expect(second.id).toBe(first.id);
  await must("awf.task/fail", { id: second.id, execId: second.execId });
  expect((await status()).resource).toMatchObject({ status: "done", outcome: "failed" });
});

test("a workflow within a workflow tells its parent when it is done", async () => {
  for (const request of ["task-request", "workflow-request"]) {
    const { decide, status, must } = await simulateWorkflow();
    await decide([action("schedule-workflow", { [request]: { definition: "ns/child", params: {} } })]);
    const [child] = (await status()).activities;
    expect(child).toMatchObject({
      resourceType: "AidboxWorkflow",
      definition: "ns/child",
      status: "in-progress",
    });
    await decide([action("complete-workflow", { result: { n: 1 } })], "ns/child");
    const { resource } = await must("awf.workflow/status", { id: child.id });
    expect(resource).toMatchObject({ outcome: "succeeded", result: { n: 1 } });
    expect((await decide([action("complete-workflow")])).params).toEqual({
      event: "awf.workflow.event/workflow-completed",
      "workflow-id": child.id,
    });
  }
});

test("cancelling a workflow cancels everything it started, at any depth", async () => {
  const { decide, must, status, call, workflow, poll } = await simulateWorkflow();
  const child = action("schedule-workflow", { "task-request": { definition: "ns/child", params: {} } });
  await decide([task("ns/a"), child]);
  await decide([task("ns/b")], "ns/child");
  const [{ id, execId }] = await poll({ taskDefinitions: ["ns/b"] });
  await must("awf.task/start", { id, execId });
  const { resource } = await must("awf.workflow/cancel", { id: workflow.id });
  expect(resource).toMatchObject({ status: "done", outcome: "canceled" });
  const { activities } = await status();
  expect(activities.map(({ outcome }: Loose) => outcome)).toEqual(["canceled", "canceled"]);
  expect((await call("awf.task/success", { id, execId })).status).toBe(422);
  expect(
    await poll({ taskDefinitions: ["ns/a"], workflowDefinitions: ["ns/flow", "ns/child"], maxBatchSize: 9 }),
  ).toEqual([]);
});

test("cancelling a workflow that is done is refused with the published words", async () => {
  const { workflow, must, call } = await simulateWorkflow();
  await must("awf.workflow/cancel", { id: workflow.id });
  expect(await call("awf.workflow/cancel", { id: workflow.id })).toEqual({
    status: 422,
    body: {
      error: {
        type: "workflow-has-been-done",
        message: `Workflow id:'${workflow.id}' has already been done. Couldn't cancel it.`,
      },
    },
  });
});

test("a cancelled task of a workflow is told as completed", async () => {
  const { decide, nextDecision, must, status } = await simulateWorkflow();
  await decide([task("ns/a")]);
  const [{ id }] = (await status()).activities;
  await must("awf.task/cancel", { id });
  expect((await nextDecision()).params).toEqual({
    event: "awf.workflow.event/task-completed",
    "task-id": id,
  });
});

test("a task that is retried is told once, when it is done", async () => {
  const { clock, decide, nextDecision, poll, must } = await simulateWorkflow();
  await decide([task("ns/a")]);
  for (const _attempt of [1, 2]) {
    expect(await nextDecision()).toBeUndefined();
    const [{ id, execId }] = await poll({ taskDefinitions: ["ns/a"] });
    await must("awf.task/start", { id, execId });
    await must("awf.task/fail", { id, execId });
    await clock.advance(10_000);
  }
  expect((await nextDecision()).params.event).toBe("awf.workflow.event/task-completed");
  expect(await nextDecision()).toBeUndefined();
});

test("decision tasks and tasks can be polled together", async () => {
  const { create, poll } = await simulateWorkflow();
  await create();
  const found = await poll({
    taskDefinitions: ["ns/work"],
    workflowDefinitions: ["ns/flow"],
    maxBatchSize: 2,
  });
  expect(found.map(({ definition }) => definition)).toEqual(["awf.workflow/decision-task", "ns/work"]);
});

test("a workflow for later begins at its time", async () => {
  const { clock, must, poll } = simulateAidbox();
  const { resource } = await must("awf.workflow/create-and-execute", {
    definition: "ns/flow",
    params: {},
    executeAt: "2026-01-01T00:01:00",
  });
  expect(resource.status).toBe("created");
  await clock.advance(60_000);
  expect(await poll({ workflowDefinitions: ["ns/flow"] })).toHaveLength(1);
});

test("workflows are listed, filtered and sorted, and an id is taken once", async () => {
  const { must, call } = simulateAidbox();
  const create = (id: string) =>
    call("awf.workflow/create-and-execute", { definition: "ns/flow", params: {}, id });
  await create("a");
  await create("b");
  expect((await create("a")).status).toBe(422);
  await must("awf.workflow/cancel", { id: "a" });
  const list = async (params?: object) =>
    (await must("awf.workflow/list", params)).resources.map(({ id }: { id: string }) => id);
  expect(await list()).toEqual(["a", "b"]);
  expect(await list({ filter: { status: "in-progress" } })).toEqual(["b"]);
  expect(await list({ filter: { outcome: "canceled" } })).toEqual(["a"]);
  expect((await call("awf.workflow/status", { id: "none" })).body.error.message).toBe("Resource not found");
  expect((await call("awf.workflow/cancel", { id: "none" })).status).toBe(422);
});
