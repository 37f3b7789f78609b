import { expect, test } from "vitest";
import { simulateAidbox } from "./aidbox-simulation.ts";

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const instant = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/;

test("a task goes from ready over requested and in-progress to done", async () => {
  const { create, poll, must } = simulateAidbox();
  const created = await create({ params: { a: 1 }, label: "mine" });
  expect(created).toEqual({
    resourceType: "AidboxTask",
    id: expect.stringMatching(uuid),
    definition: "ns/work",
    params: { a: 1 },
    label: "mine",
    status: "ready",
    meta: {
      lastUpdated: expect.stringMatching(instant),
      createdAt: expect.stringMatching(instant),
      versionId: expect.stringMatching(/^\d+$/),
    },
  });
  const [polled] = await poll();
  expect(polled).toMatchObject({ id: created.id, status: "requested", execId: expect.stringMatching(uuid) });
  expect(polled.retryCount).toBeUndefined();
  const { id, execId } = polled;
  const { resource: started } = await must("awf.task/start", { id, execId });
  expect(started).toMatchObject({ id, execId, status: "in-progress", retryCount: 1 });
  const { resource: done } = await must("awf.task/success", { id, execId, result: { rows: 3 } });
  expect(done).toMatchObject({
    id,
    execId,
    status: "done",
    outcome: "succeeded",
    result: { rows: 3 },
    retryCount: 1,
  });
  expect(Number(done.meta.versionId)).toBeGreaterThan(Number(created.meta.versionId));
  expect(done.meta.createdAt).toBe(created.meta.createdAt);
});

test("polling hands out the oldest first, at most as many as asked for, each once", async () => {
  const { create, poll } = simulateAidbox();
  for (const id of ["a", "b", "c", "d"]) {
    await create({ id });
  }
  expect((await poll()).map(({ id }) => id)).toEqual(["a"]);
  const rest = await poll({ taskDefinitions: ["ns/work"], maxBatchSize: 10 });
  expect(rest.map(({ id }) => id)).toEqual(["b", "c", "d"]);
  expect(await poll()).toEqual([]);
});

test("polling several definitions takes the oldest of all of them, and nothing of others", async () => {
  const { create, poll } = simulateAidbox();
  await create({ id: "other" }, "ns/other");
  await create({ id: "b1" }, "ns/b");
  await create({ id: "a1" }, "ns/a");
  await create({ id: "b2" }, "ns/b");
  const found = await poll({ taskDefinitions: ["ns/a", "ns/b", "ns/none"], maxBatchSize: 9 });
  expect(found.map(({ id }) => id)).toEqual(["b1", "a1", "b2"]);
});

test("a task that is not started within 10 s is ready again, and its old execId is refused", async () => {
  const { clock, create, poll, status, call } = simulateAidbox();
  const { id } = await create();
  const [first] = await poll();
  await clock.advance(9999);
  expect(await poll()).toEqual([]);
  await clock.advance(1);
  expect(await status(id)).toMatchObject({ status: "ready" });
  expect((await status(id)).execId).toBeUndefined();
  expect((await call("awf.task/start", { id, execId: first.execId })).status).toBe(422);
  const [second] = await poll();
  expect(second.execId).not.toBe(first.execId);
  expect((await call("awf.task/start", { id, execId: first.execId })).status).toBe(422);
  expect((await call("awf.task/start", { id, execId: second.execId })).status).toBe(200);
});

test("a task in progress that is not heard of for 120 s fails its attempt, and waits for the next", async () => {
  const { clock, running, status, poll, call } = simulateAidbox();
  const { id, execId } = await running();
  await clock.advance(119_999);
  expect(await status(id)).toMatchObject({ status: "in-progress" });
  await clock.advance(1);
  expect(await status(id)).toMatchObject({ status: "waiting", retryCount: 1 });
  for (const method of ["notify", "success", "fail"]) {
    const late = { id, execId, ...(method === "notify" && { notification: "heartbeat" }) };
    expect((await call(`awf.task/${method}`, late)).status).toBe(422);
  }
  await clock.advance(10_000);
  const [again] = await poll();
  expect(again).toMatchObject({ id, retryCount: 1 });
  expect(again.execId).not.toBe(execId);
});

test("the last attempt that times out fails the task for good", async () => {
  const { clock, running, poll, must, status } = simulateAidbox();
  const { id } = await running();
  await clock.advance(130_000);
  const [{ execId }] = await poll();
  await must("awf.task/start", { id, execId });
  await clock.advance(120_000);
  expect(await status(id)).toMatchObject({
    status: "done",
    outcome: "failed",
    retryCount: 2,
    outcomeReason: { type: "awf.task/failed-due-to-in-progress-timeout", message: expect.any(String) },
  });
});

test("a heartbeat prolongs the time in progress, and says to when", async () => {
  const { clock, running, must, status } = simulateAidbox();
  const { id, execId } = await running();
  for (let beat = 0; beat < 5; beat++) {
    await clock.advance(119_000);
    const { inProgressTimeoutAt } = await must("awf.task/notify", {
      id,
      execId,
      notification: "awf.task/heartbeat",
    });
    expect(inProgressTimeoutAt).toMatch(instant);
    expect(Date.parse(inProgressTimeoutAt)).toBe(clock.now() + 120_000);
  }
  expect(await status(id)).toMatchObject({ status: "in-progress" });
});

test.each([
  { notification: "heartbeat" },
  { notification: "awf.task/heartbeat", message: "task is alive" },
  { notification: "progress", "progress-current": 1 },
  { notification: "awf.task/progress", "progress-current": 1, "progress-total": 9, "progress-unit": "rows" },
])("the notification %j is taken, and logged with its fields", async (notification) => {
  const { running, must } = simulateAidbox();
  const ids = await running();
  await must("awf.task/notify", { ...ids, ...notification });
  const { log, settings } = await must("awf.task/status", {
    id: ids.id,
    "include-log?": true,
    "include-settings?": true,
  });
  expect(log.at(-1)).toMatchObject({
    resourceType: "AidboxTaskLog",
    action: "awf.task/notify",
    "action-params": notification,
    "status-before": "in-progress",
    "status-after": "in-progress",
    subject: { id: ids.id, resourceType: "AidboxTask" },
  });
  expect(settings).toEqual({
    requestedToStartTimeout: 10_000,
    inProgressTimeout: 120_000,
    allowedRetryCount: 2,
    retryDelay: 10_000,
  });
});

test.each([
  { notification: "progress" },
  { notification: "awf.task/progress", "progress-total": 9 },
  { notification: "progress", "progress-current": "1" },
  { notification: "progress", "progress-current": 1.5 },
  { notification: "alive" },
  { notification: "heartbeat", message: 1 },
  {},
])("the notification %j is refused as invalid", async (notification) => {
  const { running, call } = simulateAidbox();
  const { status, body } = await call("awf.task/notify", { ...(await running()), ...notification });
  expect(status).toBe(422);
  expect(body.error).toMatchObject({ message: "Invalid params", method: "awf.task/notify" });
});

test("a failure with attempts left is waiting, with a new time and no outcome; the last one is done", async () => {
  const { clock, running, must, poll } = simulateAidbox();
  const { id, execId } = await running();
  const { resource: waiting } = await must("awf.task/fail", { id, execId, error: { why: "x" } });
  expect(waiting).toMatchObject({ status: "waiting", retryCount: 1 });
  expect(Date.parse(waiting.executeAt)).toBe(clock.now() + 10_000);
  for (const field of ["outcome", "execId", "error"]) {
    expect(waiting[field]).toBeUndefined();
  }
  await clock.advance(9999);
  expect(await poll()).toEqual([]);
  await clock.advance(1);
  const [again] = await poll();
  await must("awf.task/start", { id, execId: again.execId });
  const { resource: done } = await must("awf.task/fail", { id, execId: again.execId, error: { why: "y" } });
  expect(done).toMatchObject({
    status: "done",
    outcome: "failed",
    retryCount: 2,
    error: { why: "y" },
    outcomeReason: { type: "awf.task/failed-by-executor", message: "Failed by executor" },
  });
});

test("each hand-out has an execId of its own, and only the current one works", async () => {
  const { clock, aidbox, create, poll, must, call } = simulateAidbox();
  aidbox.definitions.define("ns/work", { allowedRetryCount: 5 });
  const { id } = await create();
  const used: string[] = [];
  for (let attempt = 0; attempt < 5; attempt++) {
    const [{ execId }] = await poll();
    for (const old of used) {
      for (const method of ["start", "success", "fail"]) {
        const { status, body } = await call(`awf.task/${method}`, { id, execId: old });
        expect(status).toBe(422);
        expect(body.error.type).toBe("awf.task/invalid-exec-id");
      }
    }
    used.push(execId);
    await must("awf.task/start", { id, execId });
    await must("awf.task/fail", { id, execId });
    await clock.advance(10_000);
  }
  expect(new Set(used).size).toBe(5);
  expect(aidbox.tasks.get(id)?.executions[used[0] ?? ""]).toEqual({
    start: { accepted: 1, refused: 4 },
    success: { accepted: 0, refused: 4 },
    fail: { accepted: 1, refused: 4 },
  });
});

test("calls in the wrong status are refused, and change nothing", async () => {
  const { create, poll, call, must, status } = simulateAidbox();
  const { id } = await create();
  const [{ execId }] = await poll();
  for (const method of ["success", "fail"]) {
    const { status: code, body } = await call(`awf.task/${method}`, { id, execId });
    expect(code).toBe(422);
    expect(body.error).toEqual({
      type: "awf.task/invalid-status",
      message: expect.stringContaining("requested"),
    });
  }
  expect((await call("awf.task/notify", { id, execId, notification: "heartbeat" })).status).toBe(422);
  await must("awf.task/start", { id, execId });
  expect((await call("awf.task/start", { id, execId })).status).toBe(422);
  expect(await status(id)).toMatchObject({ status: "in-progress", retryCount: 1 });
});

test("an outcome that is repeated, or contradicted, is refused", async () => {
  const { running, call, must, status, aidbox } = simulateAidbox();
  const { id, execId } = await running();
  await must("awf.task/success", { id, execId });
  expect((await call("awf.task/success", { id, execId })).status).toBe(422);
  expect((await call("awf.task/fail", { id, execId })).status).toBe(422);
  expect(await status(id)).toMatchObject({ outcome: "succeeded" });
  expect(aidbox.tasks.get(id)?.executions[execId]?.success).toEqual({ accepted: 1, refused: 1 });
});

test("an unknown task is refused everywhere", async () => {
  const { call } = simulateAidbox();
  const id = "none";
  for (const [method, params] of [
    ["start", { execId: "x" }],
    ["success", { execId: "x" }],
    ["fail", { execId: "x" }],
    ["notify", { execId: "x", notification: "heartbeat" }],
    ["status", {}],
    ["cancel", {}],
  ] as const) {
    const { status, body } = await call(`awf.task/${method}`, { id, ...params });
    expect([status, body]).toEqual([422, { error: { message: "Resource not found" } }]);
  }
});

test("a result may be any JSON value, or none", async () => {
  for (const result of [{ a: 1 }, [1, 2], "Finished", 0, false, null]) {
    const { running, must } = simulateAidbox();
    const { resource } = await must("awf.task/success", { ...(await running()), result });
    expect(resource.result).toEqual(result);
  }
  const { running, must } = simulateAidbox();
  expect((await must("awf.task/success", await running())).resource.result).toBeUndefined();
});

test("a result that does not fit the definition leaves the task in progress, and can become a failure", async () => {
  const { aidbox, running, call, status } = simulateAidbox({
    definitions: {
      "ns/work": { requiredResultKeys: ["rows"], requiredErrorKeys: ["why"], allowedRetryCount: 1 },
    },
  });
  const ids = await running();
  expect((await call("awf.task/success", { ...ids, result: { lines: 1 } })).status).toBe(422);
  expect((await call("awf.task/success", ids)).status).toBe(422);
  expect((await call("awf.task/fail", ids)).status).toBe(422);
  expect(await status(ids.id)).toMatchObject({ status: "in-progress" });
  aidbox.definitions.define("ns/work", { checkResult: () => "never good enough" });
  const { body } = await call("awf.task/success", { ...ids, result: { rows: 1 } });
  expect(body.error.message).toBe("never good enough");
  expect((await call("awf.task/fail", { ...ids, error: { why: "x" } })).status).toBe(200);
});

test("params that do not fit the definition are refused", async () => {
  const { call } = simulateAidbox({ definitions: { "ns/work": { requiredParamsKeys: ["a"] } } });
  const create = (params: object) => call("awf.task/create-and-execute", { definition: "ns/work", params });
  expect((await create({})).status).toBe(422);
  expect((await create({ a: 1 })).status).toBe(200);
});

test("an id of one's own is honoured, and a second task with it is refused", async () => {
  const { create, call } = simulateAidbox();
  expect((await create({ id: "mine" })).id).toBe("mine");
  const { status, body } = await call("awf.task/create-and-execute", {
    definition: "ns/work",
    params: {},
    id: "mine",
  });
  expect(status).toBe(422);
  expect(body.error.type).toBe("awf.task/already-exists");
});

test("a task for later waits for its time, which is echoed as it was given", async () => {
  const { clock, create, poll, status } = simulateAidbox();
  const { id } = await create({ executeAt: "2026-01-01T00:01:00" });
  expect(await status(id)).toMatchObject({ status: "waiting", executeAt: "2026-01-01T00:01:00" });
  await clock.advance(59_999);
  expect(await poll()).toEqual([]);
  await clock.advance(1);
  expect(await poll()).toMatchObject([{ id, executeAt: "2026-01-01T00:01:00" }]);
  expect(await create({ executeAt: "2025-12-31" })).toMatchObject({ status: "ready" });
});

test("a long-poll answers at once when there is something", async () => {
  const { create, must } = simulateAidbox();
  await create({ id: "a" });
  const { resources } = await must("awf.task/long-poll", { taskDefinitions: ["ns/work"] });
  expect(resources).toMatchObject([{ id: "a", status: "requested" }]);
});

test("a long-poll waits until a task becomes ready, and the oldest one waiting gets it", async () => {
  const { clock, create, must } = simulateAidbox();
  const answered: string[] = [];
  const wait = async (name: string) => {
    const { resources } = await must("awf.task/long-poll", { taskDefinitions: ["ns/work"], maxBatchSize: 5 });
    answered.push(`${name} ${resources.map(({ id }: { id: string }) => id)}`);
  };
  const waiting = [wait("first"), wait("second")];
  await clock.advance(1000);
  expect(answered).toEqual([]);
  expect(await create({ id: "a" })).toMatchObject({ status: "ready" });
  await clock.advance(0);
  expect(answered).toEqual(["first a"]);
  await create({ id: "b" });
  await Promise.all(waiting);
  expect(answered).toEqual(["first a", "second b"]);
});

test.each([
  [{}, 60_000],
  [{ timeout: 50_000 }, 50_000],
  [{ timeout: 0 }, 0],
])(
  "a long-poll with %j that finds nothing ends after %i ms with an empty list",
  async (params, timeoutMs) => {
    const { clock, call } = simulateAidbox();
    let ended = false;
    const answer = call("awf.task/long-poll", { taskDefinitions: ["ns/work"], ...params }).then((given) => {
      ended = true;
      return given;
    });
    await clock.advance(Math.max(0, timeoutMs - 1));
    if (timeoutMs > 0) {
      expect(ended).toBe(false);
    }
    await clock.advance(1);
    expect(await answer).toEqual({ status: 200, body: { result: { resources: [] } } });
    expect(clock.pending).toBe(0);
  },
);

test("a long-poll gets a task that comes back because it was not started", async () => {
  const { clock, create, poll, must } = simulateAidbox();
  const { id } = await create();
  const [{ execId: first }] = await poll();
  const waiting = must("awf.task/long-poll", { taskDefinitions: ["ns/work"] });
  await clock.advance(10_000);
  const { resources } = await waiting;
  expect(resources).toMatchObject([{ id, status: "requested" }]);
  expect(resources[0].execId).not.toBe(first);
});

test("a task can be cancelled in any status, once, and its execution is then refused", async () => {
  const { clock, aidbox, create, poll, running, must, call } = simulateAidbox();
  aidbox.definitions.define("ns/work", {});
  const waiting = (await create({ executeAt: "2027-01-01" })).id;
  const ready = (await create()).id;
  for (const id of [waiting, ready]) {
    const { resource } = await must("awf.task/cancel", { id });
    expect(resource).toMatchObject({ status: "done", outcome: "canceled" });
  }
  expect(await poll()).toEqual([]);
  const { id, execId } = await running("ns/other");
  await must("awf.task/cancel", { id });
  expect((await call("awf.task/notify", { id, execId, notification: "heartbeat" })).body.error.type).toBe(
    "awf.task/invalid-status",
  );
  const again = await call("awf.task/cancel", { id });
  expect(again.status).toBe(422);
  expect(again.body.error.type).toBe("task-has-been-done");
  await clock.advance(10 * 365 * 86_400_000);
  expect(clock.pending).toBe(0);
});

test("no more tasks are out than the concurrency limit allows, whatever way they come back", async () => {
  const { clock, create, poll, must } = simulateAidbox({
    definitions: { "ns/work": { concurrencyLimit: 2, allowedRetryCount: 1 } },
  });
  for (const id of ["a", "b", "c", "d", "e"]) {
    await create({ id });
  }
  const all = { taskDefinitions: ["ns/work"], maxBatchSize: 9 };
  const [a, b] = await poll(all);
  expect([a.id, b.id]).toEqual(["a", "b"]);
  expect(await poll(all)).toEqual([]);
  await must("awf.task/start", { id: "a", execId: a.execId });
  await must("awf.task/success", { id: "a", execId: a.execId });
  expect((await poll(all)).map(({ id }) => id)).toEqual(["c"]);
  await must("awf.task/cancel", { id: "b" });
  expect((await poll(all)).map(({ id }) => id)).toEqual(["d"]);
  await clock.advance(10_000);
  expect((await poll(all)).map(({ id }) => id)).toEqual(["e", "c"]);
});

test("a concurrency path counts per value, and a higher limit lets waiting tasks in", async () => {
  const { aidbox, create, poll, must } = simulateAidbox({
    definitions: { "ns/work": { concurrencyLimit: 1, concurrencyPath: ["params", "type"] } },
  });
  await create({ id: "p1", params: { type: "Patient" } });
  await create({ id: "p2", params: { type: "Patient" } });
  await create({ id: "o1", params: { type: "Organization" } });
  await create({ id: "n1" });
  const found = await poll({ taskDefinitions: ["ns/work"], maxBatchSize: 9 });
  expect(found.map(({ id }) => id)).toEqual(["p1", "o1", "n1"]);
  const waiting = must("awf.task/long-poll", { taskDefinitions: ["ns/work"] });
  aidbox.definitions.define("ns/work", { concurrencyLimit: 2 });
  expect((await waiting).resources).toMatchObject([{ id: "p2" }]);
});

test("lists are filtered and sorted", async () => {
  const { clock, create, running, must } = simulateAidbox();
  await create({ id: "a", label: "Needle" }, "ns/a");
  await clock.advance(1000);
  await create({ id: "b" }, "ns/b");
  await clock.advance(1000);
  const { id: c, execId } = await running("ns/c");
  await must("awf.task/success", { id: c, execId });
  const list = async (params?: object) =>
    (await must("awf.task/list", params)).resources.map(({ id }: { id: string }) => id);
  expect(await list()).toEqual(["a", "b", c]);
  expect(await list({ filter: { includeDefinitions: ["ns/a", "ns/b"] } })).toEqual(["a", "b"]);
  expect(await list({ filter: { excludeDefinitions: ["ns/a"] } })).toEqual(["b", c]);
  expect(await list({ filter: { status: "ready" } })).toEqual(["a", "b"]);
  expect(await list({ filter: { outcome: "succeeded" } })).toEqual([c]);
  expect(await list({ filter: { ilike: "needle" } })).toEqual(["a"]);
  expect(await list({ sort: { createdAt: "desc" } })).toEqual([c, "b", "a"]);
  await clock.advance(1000);
  await must("awf.task/cancel", { id: "a" });
  expect(await list({ sort: { lastUpdated: "asc" } })).toEqual(["b", c, "a"]);
});

test("some resources have the legacy field pool", async () => {
  const { create } = simulateAidbox();
  const pools = await Promise.all(Array.from({ length: 8 }, async () => "pool" in (await create())));
  expect(pools).toContain(true);
  expect(pools).toContain(false);
});

test("definitions that were not registered are refused when definitions are strict", async () => {
  const { aidbox, call } = simulateAidbox({ strictDefinitions: true, definitions: { "ns/known": {} } });
  const create = (definition: string) => call("awf.task/create-and-execute", { definition, params: {} });
  expect((await create("ns/unknown")).body.error.type).toBe("awf.task/unknown-definition");
  expect((await create("ns/known")).status).toBe(200);
  expect((await call("awf.task/poll", { taskDefinitions: ["ns/unknown"] })).status).toBe(422);
  expect((await call("awf.task/poll", { taskDefinitions: ["ns/known"] })).status).toBe(200);
  aidbox.reset();
  expect((await create("ns/known")).status).toBe(200);
});

test("ten thousand tasks are handed out one by one in little time", async () => {
  const { aidbox } = simulateAidbox();
  const before = performance.now();
  for (let made = 0; made < 10_000; made++) {
    aidbox.tasks.create({ definition: "ns/work", params: {} });
  }
  let found = 0;
  while (aidbox.tasks.poll(["task ns/work"], 1).length > 0) {
    found++;
  }
  expect(found).toBe(10_000);
  expect(performance.now() - before).toBeLessThan(5000);
});

test("a reset forgets tasks, timers and definitions, and ends waits", async () => {
  const { clock, aidbox, running, create, call } = simulateAidbox();
  await running();
  await create({ executeAt: "2027-01-01" });
  aidbox.definitions.define("ns/mine", { retryDelay: 1 });
  const waiting = call("awf.task/long-poll", { taskDefinitions: ["ns/none"] });
  aidbox.reset();
  expect((await waiting).body).toEqual({ result: { resources: [] } });
  expect(aidbox.tasks.list()).toEqual([]);
  expect(aidbox.definitions.list().map(({ name }) => name)).toEqual(["awf.workflow/decision-task"]);
  expect(clock.pending).toBe(0);
});
