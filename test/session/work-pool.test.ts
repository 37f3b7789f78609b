import { create } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import { type Task, TaskSchema } from "../../gen/taskgate/v1/executor_pb.ts";
import { type Directive, DirectiveSchema } from "../../gen/taskgate/v1/session_pb.ts";
import type { Attempt, CallResult } from "../../src/model/call-result.ts";
import { createFailure, reasonName } from "../../src/model/failure.ts";
import type { LeaseRecord } from "../../src/model/lease.ts";
import type { PooledWorker, WorkDefinitions, WorkSubscription } from "../../src/model/work-pool.ts";
import { createLeaseBook, type LeaseStore } from "../../src/session/lease-book.ts";
import { createSessionIds } from "../../src/session/session-ids.ts";
import { createTaskBeats } from "../../src/session/task-beats.ts";
import { createWorkPool } from "../../src/session/work-pool.ts";
import { settle, useFakeClock } from "../outbox/fake-clock.ts";

function nameOf(directive: Directive): string {
  return DirectiveSchema.value[directive]?.localName ?? "";
}

interface Poll {
  readonly definitions: WorkDefinitions;
  readonly maxTasks: number;
  readonly signal: AbortSignal;
  /** Answers with so many tasks, `t1` and on, or with these. */
  answer(found: number | Task[]): Promise<void>;
  fail(reason: ErrorReason): Promise<void>;
  isOpen: boolean;
}

function usePool({ leaseMs = 30_000 } = {}) {
  const clock = useFakeClock();
  const steadyNow = clock.now;
  let made = 0;
  const ids = createSessionIds("key", (length) => {
    made += 1;
    return String(made).padStart(length, "s");
  });
  const ended: string[] = [];
  const store: LeaseStore = {
    begin: async () => ({ kind: "begun" }),
    end: async (lease) => void ended.push(lease.task.taskId),
    standing: async () => undefined,
    find: async () => undefined,
    list: async function* () {
      yield [];
    },
  };
  const lost: string[] = [];
  const onUnexpectedError = (error: unknown) => {
    throw error;
  };
  const common = { now: clock.now, steadyNow, setTimer: clock.setTimer, onUnexpectedError };
  const book = createLeaseBook({
    ...common,
    store,
    ids,
    durationMs: leaseMs,
    maxLeases: 1000,
    onLost: async (lease: LeaseRecord) => {
      lost.push(lease.task.taskId);
      return true;
    },
  });
  const told: string[] = [];
  let leaseLeftMs = 120_000;
  const beats = createTaskBeats({
    ...common,
    intervalMs: 10_000,
    heartbeat: async ({ id }) => {
      told.push(id);
      return { kind: "ok", value: { leaseExpireMs: clock.now() + leaseLeftMs } };
    },
    progress: async () => ({ kind: "ok", value: { leaseExpireMs: undefined } }),
  });
  const polls: Poll[] = [];
  const starts: { attempt: Attempt; answer: (result: CallResult<Task>) => void }[] = [];
  let tasks = 0;
  function newTasks(count: number, { taskDefinitions: [definition = ""] }: WorkDefinitions): Task[] {
    return Array.from({ length: count }, () => {
      tasks += 1;
      return create(TaskSchema, { id: `t${tasks}`, execId: `e${tasks}`, definition });
    });
  }
  const pool = createWorkPool({
    ...common,
    book,
    ids,
    beats,
    random: () => 0.5,
    maxWorkers: 500,
    heartbeatIntervalMs: leaseMs / 3,
    taskOf: ({ id, execId }) => ({
      upstream: "aidbox",
      lane: "aidbox",
      key: `${id}/${execId}`,
      taskId: id,
      attempt: execId,
    }),
    onRefused: () => undefined,
    longPoll: (definitions, maxTasks, _timeoutMs, signal) => {
      const { promise, resolve } = Promise.withResolvers<CallResult<Task[]>>();
      const poll: Poll = {
        definitions,
        maxTasks,
        signal,
        isOpen: true,
        async answer(found) {
          poll.isOpen = false;
          resolve({ kind: "ok", value: typeof found === "number" ? newTasks(found, definitions) : found });
          await settle();
        },
        async fail(reason) {
          poll.isOpen = false;
          resolve({ kind: "failed", failure: createFailure(reason, "no") });
          await settle();
        },
      };
      signal.addEventListener("abort", () => void poll.fail(ErrorReason.UPSTREAM_UNAVAILABLE));
      polls.push(poll);
      return promise;
    },
    start: (attempt) =>
      new Promise((resolve) => {
        starts.push({ attempt, answer: resolve });
      }),
  });

  function join(subscription: Partial<WorkSubscription> = {}) {
    const got: string[] = [];
    const heard: string[] = [];
    const joined = pool.join(
      {
        caller: "c",
        definitions: { taskDefinitions: ["a/b"], workflowDefinitions: [] },
        maxInFlight: 1,
        worker: "",
        onLost: "fail",
        sessionId: "",
        ...subscription,
      },
      {
        onTask: ({ id }) => got.push(id),
        onDirective: (directive, cause, attempt) =>
          heard.push(`${nameOf(directive)} ${reasonName(cause)} ${attempt?.id ?? ""}`.trim()),
        onRefused: ({ reason }) => heard.push(`refused ${reasonName(reason)}`),
        onSuperseded: () => heard.push("superseded"),
        onDrained: () => heard.push("drained"),
      },
    );
    if (joined.kind === "failed") {
      throw new Error(joined.failure.message);
    }
    const { worker } = joined;
    worker.open();
    return Object.assign(worker, { got, heard });
  }

  async function begin(worker: PooledWorker, id: string) {
    const attempt = { id, execId: id.replace("t", "e") };
    const starting = worker.start(attempt, "r");
    await settle();
    starts
      .findLast((start) => start.attempt.id === id)
      ?.answer({ kind: "ok", value: create(TaskSchema, attempt) });
    const result = await starting;
    return result.kind === "ok" ? "begun" : reasonName(result.failure.reason);
  }

  const open = () => polls.filter(({ isOpen }) => isOpen);
  return {
    clock,
    pool,
    book,
    polls,
    open,
    asked: () => open().reduce((sum, { maxTasks }) => sum + maxTasks, 0),
    starts,
    told,
    lost,
    ended,
    join,
    begin,
    attempt: (id: string) => ({ id, execId: id.replace("t", "e") }),
    set leaseLeftMs(value: number) {
      leaseLeftMs = value;
    },
  };
}

describe("what is asked for", () => {
  test("never more than the free places of the workers that are there", async () => {
    const { join, asked, open, begin, polls } = usePool();
    expect(polls).toEqual([]);
    const one = join({ maxInFlight: 3 });
    expect(asked()).toBe(3);
    const two = join({ maxInFlight: 2 });
    expect(asked()).toBe(5);
    expect(open().length).toBe(2);
    await open()[0]?.answer(3);
    expect(asked()).toBe(2);
    // Each in turn: none has all while the other has none.
    expect([one.got, two.got]).toEqual([["t1", "t3"], ["t2"]]);
    await open()[0]?.answer(2);
    expect(one.got.length + two.got.length).toBe(5);
    expect(asked()).toBe(0);
    await begin(one, "t1");
    expect(asked()).toBe(0);
    expect(one.release({ id: "t3", execId: "e3" })).toBeUndefined();
    // It was given to nobody else: the other one is full.
    expect(two.got).toEqual(["t2", "t4"]);
    expect(asked()).toBe(1);
  });

  test("asks no more than twice at a time, and for all that came free meanwhile", async () => {
    const { join, open, asked } = usePool();
    for (let count = 0; count < 10; count += 1) {
      join();
    }
    expect(open().map(({ maxTasks }) => maxTasks)).toEqual([1, 1]);
    await open()[0]?.answer(1);
    expect(open().map(({ maxTasks }) => maxTasks)).toEqual([1, 8]);
    expect(asked()).toBe(9);
  });

  test("takes what comes one after the other together, and what comes behind a pause at once", async () => {
    const { join, open, clock, polls } = usePool();
    const worker = join({ maxInFlight: 10 });
    await clock.advance(5000);
    await open()[0]?.answer(1);
    expect(worker.got).toEqual(["t1"]);
    expect(open()).toEqual([]);
    await clock.advance(19);
    expect(open()).toEqual([]);
    await clock.advance(1);
    expect(open().map(({ maxTasks }) => maxTasks)).toEqual([9]);
    await open()[0]?.answer(2);
    expect(worker.got).toEqual(["t1", "t2", "t3"]);
    await clock.advance(20);
    // Nothing came within the time that it could wait: it may wait again.
    await open()[0]?.answer(0);
    expect(open()).toHaveLength(1);
    expect(polls).toHaveLength(4);
  });

  test("does not rest while more is ready than was asked for", async () => {
    const { join, open } = usePool();
    const worker = join({ maxInFlight: 4 });
    await open()[0]?.answer(4);
    expect(open()).toEqual([]);
    for (const id of ["t1", "t2"]) {
      worker.release({ id, execId: `e${id.slice(1)}` });
    }
    expect(open().map(({ maxTasks }) => maxTasks)).toEqual([1, 1]);
  });

  test("nothing for a worker with no places, and nothing more once they are taken away", async () => {
    const { join, open, clock, polls } = usePool();
    const worker = join({ maxInFlight: 0 });
    expect(polls).toEqual([]);
    worker.change({ maxInFlight: 4, worker: "", onLost: "fail" });
    const [poll] = open();
    worker.change({ maxInFlight: 0, worker: "", onLost: "fail" });
    // Somebody may come back at once.
    await clock.advance(1900);
    expect(poll?.signal.aborted).toBe(false);
    await clock.advance(200);
    expect(poll?.signal.aborted).toBe(true);
    expect(open()).toEqual([]);
  });

  test("each set of definitions for itself, each caller for itself", () => {
    const { join, polls } = usePool();
    join({ definitions: { taskDefinitions: ["a/b", "c/d"], workflowDefinitions: ["f/g"] } });
    join({ definitions: { taskDefinitions: ["c/d", "a/b", "a/b"], workflowDefinitions: ["f/g"] } });
    join({ caller: "other" });
    expect(polls.map(({ definitions, maxTasks }) => [definitions.taskDefinitions.join(), maxTasks])).toEqual([
      ["a/b,c/d", 1],
      ["a/b,c/d", 1],
      ["a/b", 1],
    ]);
  });

  test("an upstream in trouble is asked ever more rarely, and for less; a refusal is told once", async () => {
    const { join, open, polls, clock } = usePool();
    const worker = join({ maxInFlight: 64 });
    const gaps: number[] = [];
    for (let failures = 0; failures < 10; failures += 1) {
      const before = clock.now();
      for (const poll of open()) {
        await poll.fail(ErrorReason.UPSTREAM_UNAVAILABLE);
      }
      while (open().length === 0) {
        await clock.advance(25);
        worker.touch();
      }
      gaps.push(clock.now() - before);
    }
    expect(gaps).toEqual(gaps.toSorted((a, b) => a - b));
    expect(gaps[0]).toBeLessThanOrEqual(100);
    expect(gaps.at(-1)).toBeLessThanOrEqual(10_000);
    expect(polls.at(-1)?.maxTasks).toBe(1);
    expect(worker.heard).toEqual([]);
    for (const poll of open()) {
      await poll.fail(ErrorReason.UPSTREAM_AUTH);
    }
    await clock.advance(10_000);
    expect(open().length).toBeGreaterThan(0);
    await open()[0]?.fail(ErrorReason.UPSTREAM_AUTH);
    expect(worker.heard).toEqual(["refused UPSTREAM_AUTH"]);
  });
});

describe("a task on its way", () => {
  test("that comes when its worker has gone is given to another one, if there is one in time", async () => {
    const { join, open, clock } = usePool();
    const gone = join({ maxInFlight: 2 });
    const [poll] = open();
    gone.leave();
    await poll?.answer(2);
    expect(gone.got).toEqual([]);
    const other = join();
    expect(other.got).toEqual(["t1"]);
    await clock.advance(6000);
    const late = join();
    expect(late.got).toEqual([]);
  });

  test("goes to whoever takes its definition, of the same caller", async () => {
    const { join, open } = usePool();
    const gone = join();
    const [poll] = open();
    const foreign = join({ caller: "other" });
    const unfit = join({ definitions: { taskDefinitions: ["c/d"], workflowDefinitions: ["a/b"] } });
    const fit = join({ definitions: { taskDefinitions: ["c/d", "a/b"], workflowDefinitions: [] } });
    gone.leave();
    await poll?.answer(1);
    expect([foreign.got, unfit.got, fit.got]).toEqual([[], [], ["t1"]]);
  });

  test("that is not started in time is another worker's, as long as Aidbox surely waits for it", async () => {
    const { join, open, clock, pool, starts } = usePool();
    const slow = join();
    await open()[0]?.answer(1);
    const quick = join({ maxInFlight: 1 });
    await clock.advance(pool.startTimeoutMs + 10);
    expect(slow.heard).toEqual(["CANCEL LEASE_EXPIRED t1"]);
    expect(quick.got).toEqual(["t1"]);
    expect(await slow.start({ id: "t1", execId: "e1" }, "")).toMatchObject({
      failure: { reason: ErrorReason.LEASE_SUPERSEDED },
    });
    // A third one would have it when Aidbox has taken it back.
    const third = join();
    await clock.advance(pool.startTimeoutMs + 10);
    expect(third.got).toEqual([]);
    expect(starts).toEqual([]);
  });

  test("never returns to a worker that had its chance", async () => {
    const { join, open, attempt } = usePool();
    const worker = join();
    await open()[0]?.answer(1);
    worker.release(attempt("t1"));
    expect(worker.got).toEqual(["t1"]);
    expect(worker.release(attempt("t1"))).toBeUndefined();
    expect(worker.release(attempt("t9"))).toMatchObject({ reason: ErrorReason.TASK_UNKNOWN });
  });

  test("is begun once, however often its worker says so, and holds its place until its end", async () => {
    const { join, open, starts, begin, asked, book, attempt } = usePool();
    const worker = join();
    await open()[0]?.answer(1);
    const both = Promise.all([worker.start(attempt("t1"), "r1"), begin(worker, "t1")]);
    expect(await both).toMatchObject([{ kind: "ok" }, "begun"]);
    expect(await worker.start(attempt("t1"), "r3")).toEqual({ kind: "ok", value: undefined });
    expect(starts.length).toBe(1);
    expect(asked()).toBe(0);
    book.ended({ upstream: "aidbox", key: "t1/e1" }, ErrorReason.TASK_FINISHED, "ann");
    expect(asked()).toBe(1);
  });

  test("that could not be begun holds no place", async () => {
    const { join, open, starts, asked, attempt, clock } = usePool();
    const worker = join();
    await open()[0]?.answer(1);
    const starting = worker.start(attempt("t1"), "r");
    await settle();
    const answer = (reason: ErrorReason) =>
      starts.at(-1)?.answer({ kind: "failed", failure: createFailure(reason, "no") });
    // Surely not taken: it is tried again.
    answer(ErrorReason.UPSTREAM_UNAVAILABLE);
    await clock.advance(300);
    expect(starts.length).toBe(2);
    answer(ErrorReason.TASK_CANCELLED);
    expect(await starting).toMatchObject({ failure: { reason: ErrorReason.TASK_CANCELLED } });
    expect(asked()).toBe(1);
  });

  test("of which nobody knows whether it has begun is reported as lost, and is not its worker's", async () => {
    const { join, open, starts, asked, attempt, clock, lost, book, ended } = usePool({ leaseMs: 3000 });
    await book.start();
    const worker = join();
    await open()[0]?.answer(1);
    const starting = worker.start(attempt("t1"), "r");
    await settle();
    // However long Aidbox takes: it is not the worker that is silent.
    for (let beats = 0; beats < 10; beats += 1) {
      await clock.advance(500);
      worker.touch();
    }
    expect(lost).toEqual([]);
    starts[0]?.answer({ kind: "failed", failure: createFailure(ErrorReason.UPSTREAM_UNCERTAIN, "no") });
    expect(await starting).toMatchObject({ failure: { reason: ErrorReason.UPSTREAM_UNCERTAIN } });
    expect(asked()).toBe(1);
    await clock.advance(4000);
    expect([lost, ended]).toEqual([["t1"], ["t1"]]);
    expect(worker.heard).toEqual([]);
  });

  test("of which nobody knows whether it has begun is asked about when its worker starts it again", async () => {
    const { join, open, starts, attempt } = usePool();
    const worker = join();
    await open()[0]?.answer(1);
    const first = worker.start(attempt("t1"), "r1");
    await settle();
    starts[0]?.answer({ kind: "failed", failure: createFailure(ErrorReason.UPSTREAM_UNCERTAIN, "no") });
    expect(await first).toMatchObject({ failure: { reason: ErrorReason.UPSTREAM_UNCERTAIN } });
    const second = worker.start(attempt("t1"), "r2");
    await settle();
    expect(starts.length).toBe(2);
    starts[1]?.answer({ kind: "ok", value: create(TaskSchema, { id: "t1", execId: "e1" }) });
    expect(await second).toMatchObject({ kind: "ok", value: { id: "t1" } });
    expect(await worker.start(attempt("t1"), "r3")).toEqual({ kind: "ok", value: undefined });
    expect(starts.length).toBe(2);
  });

  test("that is cancelled while it begins is over when it has begun", async () => {
    const { join, open, begin, pool, starts, asked, ended } = usePool();
    const worker = join();
    await open()[0]?.answer(1);
    const starting = worker.start({ id: "t1", execId: "e1" }, "");
    await settle();
    pool.ended("t1", ErrorReason.TASK_CANCELLED);
    starts[0]?.answer({ kind: "ok", value: create(TaskSchema, { id: "t1", execId: "e1" }) });
    expect(await starting).toMatchObject({ failure: { reason: ErrorReason.TASK_CANCELLED } });
    expect(ended).toEqual(["t1"]);
    expect(asked()).toBe(1);
    await open()[0]?.answer(1);
    expect(await begin(worker, "t2")).toBe("begun");
  });
});

describe("who is alive", () => {
  test("a worker that is silent is given nothing, and what it has not begun is another's", async () => {
    const { join, open, clock, pool } = usePool({ leaseMs: 2000 });
    const silent = join({ maxInFlight: 2 });
    await clock.advance(600);
    await open()[0]?.answer(1);
    const other = join();
    for (let beats = 0; beats < 5; beats += 1) {
      await clock.advance(400);
      other.touch();
    }
    expect(silent.got).toEqual(["t1"]);
    expect(other.got).toEqual(["t1"]);
    expect(pool.list().map(({ taskIds }) => taskIds)).toEqual([[], ["t1"]]);
    await clock.advance(2500);
    expect(open()).toEqual([]);
    silent.touch();
    expect(open().length).toBeGreaterThan(0);
  });

  test("the session of a worker that left is kept for a lease, and resumed at any time", async () => {
    const { join, clock, pool } = usePool({ leaseMs: 2000 });
    const worker = join();
    worker.leave();
    await clock.advance(1000);
    expect(pool.list()).toMatchObject([{ isConnected: false }]);
    await clock.advance(2500);
    expect(pool.list()).toEqual([]);
    const again = join({ sessionId: worker.sessionId });
    expect(again.isResumed).toBe(true);
    expect(pool.list()).toMatchObject([{ sessionId: worker.sessionId, isConnected: true }]);
  });

  test("each task has its own lease, and the upstream hears of those that beat", async () => {
    const { join, open, begin, book, clock, told, lost, attempt } = usePool({ leaseMs: 30_000 });
    await book.start();
    const worker = join({ maxInFlight: 2 });
    await open()[0]?.answer(2);
    await begin(worker, "t1");
    await begin(worker, "t2");
    for (let beats = 0; beats < 9; beats += 1) {
      await clock.advance(5000);
      worker.touch();
      worker.beat([attempt("t1")]);
    }
    expect(lost).toEqual(["t2"]);
    expect(worker.heard).toContain("CANCEL LEASE_EXPIRED t2");
    // One in ten seconds.
    expect(told.every((id) => id === "t1")).toBe(true);
    expect(told.length).toBeGreaterThanOrEqual(4);
    expect(told.length).toBeLessThanOrEqual(5);
    const before = told.length;
    await clock.advance(60_000);
    expect(told.length).toBe(before);
    expect(lost).toEqual(["t2", "t1"]);
  });

  test("an upstream with a short timer is told in its rhythm, and the worker of its end", async () => {
    const used = usePool();
    const { join, open, begin, clock, told, attempt } = used;
    used.leaseLeftMs = 6000;
    const worker = join();
    await open()[0]?.answer(1);
    await begin(worker, "t1");
    for (let beats = 0; beats < 20; beats += 1) {
      await clock.advance(500);
      worker.beat([attempt("t1")]);
    }
    expect(told.length).toBeGreaterThanOrEqual(5);
    expect(told.length).toBeLessThanOrEqual(8);
    expect(worker.beat([attempt("t1")]).leaseExpireMs).toBeLessThanOrEqual(clock.now() + 6000);
  });

  test("an attempt that the upstream hands out anew is taken from whoever has it", async () => {
    const { join, open, begin, asked, clock } = usePool();
    const worker = join({ maxInFlight: 3 });
    await open()[0]?.answer(2);
    await begin(worker, "t1");
    await clock.advance(20);
    const anew = ["t1", "t2"].map((id) =>
      create(TaskSchema, { id, execId: `second ${id}`, definition: "a/b" }),
    );
    await open()[0]?.answer(anew);
    expect(worker.heard).toEqual(["CANCEL LEASE_SUPERSEDED t1", "CANCEL LEASE_SUPERSEDED t2"]);
    expect(worker.got).toEqual(["t1", "t2", "t1", "t2"]);
    expect(asked()).toBe(1);
  });
});

test("a pool that drains asks for nothing, gives nothing, and tells who is done", async () => {
  const { join, open, pool, begin, book } = usePool();
  const idle = join();
  const busy = join();
  await open()[0]?.answer(1);
  const [has, lacks] = idle.got.length > 0 ? [idle, busy] : [busy, idle];
  await begin(has, "t1");
  const late = open()[0];
  pool.drain();
  expect(lacks.heard).toEqual(["DRAIN DRAINING", "drained"]);
  expect(has.heard).toEqual(["DRAIN DRAINING"]);
  expect(late?.signal.aborted).toBe(true);
  expect(() => join()).toThrow(/going away/);
  expect(join({ sessionId: lacks.sessionId }).heard).toEqual(["DRAIN DRAINING", "drained"]);
  book.ended({ upstream: "aidbox", key: "t1/e1" }, ErrorReason.TASK_FINISHED, "ann");
  expect(has.heard).toEqual(["DRAIN DRAINING", "CANCEL TASK_FINISHED t1", "drained"]);
  expect(open()).toEqual([]);
});
