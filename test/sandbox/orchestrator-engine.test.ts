import { expect, test } from "vitest";
import { ownClock } from "../../src/sandbox/clock.ts";
import { createOrchestrator, type OrchestratorOptions } from "../../src/sandbox/orchestrator.ts";
import type { ProcessPlan } from "../../src/sandbox/orchestrator-process.ts";
import { createFakeClock } from "./fake-clock.ts";
import { createScriptedRandom } from "./scripted-random.ts";

const good = { return_code: 0 };
const bad = { return_code: 1, output: ["why"] };

/** An Orchestrator without sockets, with one process, under a clock of its own. */
function simulate(plan: ProcessPlan = {}, options: OrchestratorOptions = {}) {
  const clock = createFakeClock();
  const { random, script } = createScriptedRandom();
  const orchestrator = createOrchestrator(ownClock(clock), random, options);
  const { process_id: id } = orchestrator.processes.start(plan);
  const view = () => {
    const found = orchestrator.processes.get(id);
    if (found === undefined) {
      throw new Error("no such process");
    }
    return found;
  };
  const send = async (path: string, value: unknown) => {
    const answer = await orchestrator
      .receive({
        method: "POST",
        path,
        query: new URLSearchParams(),
        headers: { "content-type": "application/json" },
        body: Buffer.from(JSON.stringify(value)),
      })
      .process();
    return { status: answer.status, detail: JSON.parse(String(answer.body) || "null")?.detail };
  };
  return {
    clock,
    script,
    orchestrator,
    id,
    view,
    complete: (value: unknown = good, route = view().callback_route) => send(route, value),
    progress: (value: unknown, route = view().callback_route) => send(`${route}/progress`, value),
  };
}

test("a callback is too early until the action step has returned", async () => {
  const { clock, view, complete, progress } = simulate({ actionMs: 4000 });
  expect(view().status).toBe("running");
  expect((await complete()).status).toBe(409);
  expect((await progress({})).status).toBe(409);
  await clock.advance(3999);
  expect((await complete()).status).toBe(409);
  await clock.advance(1);
  expect((await progress({})).status).toBe(200);
  expect((await complete()).status).toBe(200);
});

test("an action step can be ended by hand, once", async () => {
  const { orchestrator, id, complete, clock } = simulate({ actionMs: 4000 });
  expect(orchestrator.processes.actionReturned(id)).toBe(true);
  expect(orchestrator.processes.actionReturned(id)).toBe(false);
  expect((await complete()).status).toBe(200);
  await clock.advance(10_000);
  expect(clock.pending).toBe(0);
});

test("a result that fails validation is answered 200, and kills the token", async () => {
  const { view, complete } = simulate();
  expect((await complete(bad)).status).toBe(200);
  expect(view()).toMatchObject({
    status: "failed",
    failed_reason: "Callback failure",
    callback_result: bad,
    results: [],
  });
  expect((await complete(good)).status).toBe(409);
});

test("a retry runs the whole group again, the action too, with a new token", async () => {
  const { orchestrator, id, view, complete } = simulate();
  const { callback_route: first } = view();
  await complete(bad);
  expect(orchestrator.processes.resume(id)).toBe(true);
  expect(view()).toMatchObject({
    status: "awaiting_callback",
    action_runs: 2,
    failed_reason: null,
    callback_result: null,
  });
  expect(await complete(good, first)).toEqual({ status: 404, detail: "Invalid token" });
  expect((await complete(good)).status).toBe(200);
  expect(view()).toMatchObject({ status: "completed", validations: 2, results: [good] });
});

test("after the first of two callback steps its token is invalid, and after the second there is none to await", async () => {
  const { view, complete } = simulate({ steps: 2 });
  const { callback_route: first } = view();
  expect((await complete(good, first)).status).toBe(200);
  expect(view()).toMatchObject({ status: "awaiting_callback", step: 2, callback_result: null });
  expect(await complete(good, first)).toEqual({ status: 404, detail: "Invalid token" });
  const { callback_route: second } = view();
  expect((await complete(good, second)).status).toBe(200);
  expect(await complete(good, second)).toMatchObject({ status: 409 });
  expect(view()).toMatchObject({
    status: "completed",
    results: [good, good],
    action_runs: 2,
    validations: 2,
  });
});

test("a callback after the deadline and before the sweep is accepted", async () => {
  const { clock, view, complete } = simulate({ timeoutMs: 2000 });
  await clock.advance(29_999);
  expect(view().status).toBe("awaiting_callback");
  expect((await complete()).status).toBe(200);
  await clock.advance(60_000);
  expect(view().status).toBe("completed");
});

test("the sweep after the deadline fails the process", async () => {
  const { clock, view, complete } = simulate({ timeoutMs: 2000 });
  await clock.advance(30_000);
  expect(view()).toMatchObject({ status: "failed", failed_reason: "Callback timed out" });
  expect((await complete()).status).toBe(409);
});

test("sweeps are counted from the Orchestrator's start, and each at their interval", async () => {
  const { clock, view } = simulate({ timeoutMs: 2500 }, { sweepIntervalMs: 1000 });
  await clock.advance(2999);
  expect(view().status).toBe("awaiting_callback");
  await clock.advance(1);
  expect(view().status).toBe("failed");
});

test("progress does not prolong the wait", async () => {
  const { clock, view, progress } = simulate({ timeoutMs: 25_000 });
  await clock.advance(24_000);
  expect((await progress({})).status).toBe(200);
  await clock.advance(6000);
  expect(view().status).toBe("failed");
});

test("without a timeout the wait has no end", async () => {
  const { clock, view } = simulate();
  await clock.advance(365 * 86_400_000);
  expect(view().status).toBe("awaiting_callback");
});

test("a resume while awaiting validates without a result, and the callback comes too late", async () => {
  const { orchestrator, id, view, complete } = simulate();
  expect(orchestrator.processes.resume(id)).toBe(true);
  expect(view()).toMatchObject({
    status: "failed",
    failed_reason: `"Could not find key 'callback_result' in state. for function sandbox.validate"`,
  });
  expect((await complete()).status).toBe(409);
});

test("an aborted process takes nothing more, and cannot be resumed or aborted again", async () => {
  const { orchestrator, id, complete, clock } = simulate({ actionMs: 1000, timeoutMs: 1000 });
  expect(orchestrator.processes.abort(id)).toBe(true);
  await clock.advance(60_000);
  expect((await complete()).status).toBe(409);
  expect(orchestrator.processes.resume(id)).toBe(false);
  expect(orchestrator.processes.abort(id)).toBe(false);
  expect(clock.pending).toBe(0);
});

test("an abort during validation wins", async () => {
  const { orchestrator, id, clock, view, complete } = simulate({ validateMs: 1000 });
  await complete();
  orchestrator.processes.abort(id);
  await clock.advance(2000);
  expect(view()).toMatchObject({ status: "aborted", results: [] });
});

test("a slow validation does not hold up the answer, but a second callback is refused meanwhile", async () => {
  const { clock, view, complete } = simulate({ validateMs: 6000 });
  expect((await complete()).status).toBe(200);
  expect(view().status).toBe("running");
  expect((await complete()).status).toBe(409);
  await clock.advance(6000);
  expect(view().status).toBe("completed");
});

test("with TESTING the answer comes when the process has reached its next stop", async () => {
  const { clock, view, complete } = simulate({ validateMs: 6000 }, { testing: true });
  let answered = false;
  const answer = complete().then((given) => {
    answered = true;
    return given;
  });
  await clock.advance(5999);
  expect(answered).toBe(false);
  await clock.advance(1);
  expect((await answer).status).toBe(200);
  expect(view().status).toBe("completed");
});

test("with the broker down the result is stored, the answer is 500, and only the operator goes on", async () => {
  const { orchestrator, id, view, complete } = simulate({}, { brokerDown: true });
  const { callback_route } = view();
  const answer = await orchestrator
    .receive({
      method: "POST",
      path: callback_route,
      query: new URLSearchParams(),
      headers: { "content-type": "application/json" },
      body: Buffer.from(JSON.stringify(good)),
    })
    .process();
  expect(answer).toMatchObject({ status: 500, body: "Internal Server Error" });
  expect(view()).toMatchObject({
    status: "resumed",
    callback_result: good,
    accepted_callbacks: 0,
    validations: 0,
  });
  orchestrator.switches.brokerDown = false;
  expect((await complete()).status).toBe(409);
  expect(orchestrator.processes.resume(id)).toBe(true);
  expect(view()).toMatchObject({ status: "completed", results: [good] });
});

test("a validation of one's own judges, and may throw", async () => {
  const judged = simulate({ validate: ({ colour }) => (colour === "blue" ? undefined : "not blue") });
  await judged.complete({ colour: "red" });
  expect(judged.view().failed_reason).toBe("not blue");
  const thrown = simulate({
    validate: () => {
      throw new Error("x".repeat(20_000));
    },
  });
  await thrown.complete({});
  expect(thrown.view().failed_reason).toHaveLength(10_000);
  const none = simulate({ validate: "none" });
  await none.complete({ return_code: 1 });
  expect(none.view().status).toBe("completed");
});

test("the history tells what happened, in order", async () => {
  const { view, complete, progress, clock } = simulate({ actionMs: 10 });
  await clock.advance(10);
  await progress({ n: 1 });
  await complete(bad);
  expect(view().history.map(({ event }) => event)).toEqual([
    "action-started",
    "awaiting-callback",
    "progress",
    "callback",
    "validation-started",
    "failed",
  ]);
});

test("a reset forgets every process and timer", async () => {
  const { orchestrator, clock } = simulate({ actionMs: 1000 });
  orchestrator.processes.start({ timeoutMs: 1000 });
  orchestrator.reset();
  expect(orchestrator.processes.list()).toEqual([]);
  expect(clock.pending).toBe(0);
});

test("the race: two results at the same time are both accepted, validated twice, and the next job is sent twice", async () => {
  const { clock, view, complete } = simulate({ steps: 2 }, { raceWindowMs: 10 });
  const { callback_route } = view();
  const answers = Promise.all([complete(good, callback_route), complete(good, callback_route)]);
  await clock.advance(100);
  expect((await answers).map(({ status }) => status)).toEqual([200, 200]);
  expect(view()).toMatchObject({
    accepted_callbacks: 2,
    validations: 2,
    action_runs: 3,
    status: "awaiting_callback",
  });
});

test("the race: one after the other, a second result is refused all the same", async () => {
  const { clock, complete } = simulate({}, { raceWindowMs: 10 });
  const first = complete();
  await clock.advance(100);
  expect((await first).status).toBe(200);
  const second = complete();
  await clock.advance(100);
  expect((await second).status).toBe(409);
});

// What is drawn while a race is on: how long the result's handler waits, how long the one of the progress, and how
// long it takes a worker to pick the process up; each from half to one and a half of the window.

test("the race: progress that is written after the result erases it, although both are answered 200", async () => {
  const { clock, script, view, complete, progress } = simulate({}, { raceWindowMs: 10 });
  script(0, 0.3, 0.9);
  const answers = Promise.all([complete(), progress({ n: 1 })]);
  await clock.advance(100);
  expect((await answers).map(({ status }) => status)).toEqual([200, 200]);
  expect(view()).toMatchObject({
    status: "failed",
    failed_reason: `"Could not find key 'callback_result' in state. for function sandbox.validate"`,
    accepted_callbacks: 1,
    accepted_progress: 1,
  });
});

test("the race: progress that is written before the result harms nothing", async () => {
  const { clock, script, view, complete, progress } = simulate({}, { raceWindowMs: 10 });
  script(0.9, 0, 0.5);
  const answers = Promise.all([complete(), progress({ n: 1 })]);
  await clock.advance(100);
  expect((await answers).map(({ status }) => status)).toEqual([200, 200]);
  expect(view()).toMatchObject({ status: "completed", results: [good] });
});

test("the race: progress of the first step that is written when the second has begun touches nothing", async () => {
  const { clock, script, view, complete, progress } = simulate({ steps: 2 }, { raceWindowMs: 10 });
  const { callback_route: first } = view();
  script(0, 0.99, 0);
  const answers = Promise.all([complete(good, first), progress({ n: 1 }, first)]);
  await clock.advance(100);
  await answers;
  expect(view()).toMatchObject({
    step: 2,
    status: "awaiting_callback",
    callback_progress: null,
    results: [good],
  });
  expect(view().callback_route).not.toBe(first);
});

test("without the race the same traffic is harmless: one result, one validation, nothing lost", async () => {
  for (let round = 0; round < 20; round++) {
    const { clock, view, complete, progress } = simulate({ steps: 2 });
    const { callback_route: first } = view();
    const answers = await Promise.all([
      progress({ n: 1 }, first),
      complete(good, first),
      complete(good, first),
      progress({ n: 2 }, first),
    ]);
    await clock.advance(100);
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 404, 404]);
    expect(view()).toMatchObject({ accepted_callbacks: 1, validations: 1, action_runs: 2, results: [good] });
  }
});
