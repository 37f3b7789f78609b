import { describe, expect, test } from "vitest";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import { Directive } from "../../gen/taskgate/v1/session_pb.ts";
import { settle } from "../outbox/fake-clock.ts";
import {
  createEar,
  durationMs,
  openTask,
  reasonOf,
  taskNamed,
  terms,
  useLeaseBook,
} from "./use-lease-book.ts";

const task = taskNamed("t");
const continues = { kind: "answered", answer: { directive: Directive.CONTINUE } };
const cancelled = (cause: ErrorReason) => ({
  kind: "answered",
  answer: { directive: Directive.CANCEL, cause, leaseExpireMs: undefined, sessionId: "" },
});

describe("the end of a lease", () => {
  test.each([0, 1, 100, 249, 251])(
    "comes not before its time and within a second behind it, whenever it began: %d ms",
    async (beginMs) => {
      const { book, clock, lost } = await useLeaseBook();
      await clock.advance(beginMs);
      const beatMs = clock.now();
      const sessionId = await openTask(book, task);
      await clock.advance(durationMs);
      expect(lost).toEqual([]);
      await clock.advance(1000);
      expect(lost).toMatchObject([{ taskId: "t", sessionId, lastBeatMs: beatMs }]);
      await clock.advance(5 * durationMs);
      expect(lost).toHaveLength(1);
      expect(book.size).toBe(0);
    },
  );

  test("is put off by every beat, with and without a stream, and by every report", async () => {
    const { book, clock, lost } = await useLeaseBook();
    const sessionId = await openTask(book, task);
    const stream = book.attach(task, sessionId, createEar().listener);
    const beats = [
      () => stream?.beat(),
      () => book.beat(task, terms, ""),
      () => book.beat(task, terms, sessionId),
      () => book.admit(task, "ann", ""),
      () => book.admit(task, "ann", sessionId),
      () => book.open(task, terms, sessionId),
    ];
    for (const beat of beats) {
      await clock.advance(durationMs - 1);
      await beat();
    }
    expect(lost).toEqual([]);
    const [session] = book.list();
    expect(session).toMatchObject({ lastBeatMs: clock.now(), leaseExpireMs: clock.now() + durationMs });
    await clock.advance(durationMs + 1000);
    expect(lost).toHaveLength(1);
  });

  test("is put off by no report of another caller, of another session, of another task", async () => {
    const { book, clock, lost } = await useLeaseBook();
    await openTask(book, task);
    await clock.advance(durationMs / 2);
    expect(book.admit(task, "bob", "")).toBeUndefined();
    expect(book.admit(task, "ann", "invented")?.reason).toBe(ErrorReason.SESSION_UNKNOWN);
    expect(reasonOf(await book.beat(task, { ...terms, caller: "bob" }, ""))).toBe("TASK_UNKNOWN");
    await book.beat(taskNamed("other"), terms, "");
    await clock.advance(durationMs / 2 + 1000);
    expect(lost).toMatchObject([{ taskId: "t" }]);
  });

  test("tells the stream that still carries the session, and a late beat", async () => {
    const { book, clock } = await useLeaseBook();
    const sessionId = await openTask(book, task);
    const { heard, listener } = createEar();
    const stream = book.attach(task, sessionId, listener);
    await clock.advance(durationMs + 1000);
    expect(heard).toEqual([[Directive.CANCEL, ErrorReason.LEASE_EXPIRED]]);
    expect(stream?.beat()).toBeUndefined();
    expect(book.attach(task, sessionId, listener)).toBeUndefined();
    expect(await book.beat(task, terms, sessionId)).toEqual(cancelled(ErrorReason.LEASE_EXPIRED));
    expect(await book.open(task, terms, sessionId)).toEqual({
      kind: "ended",
      sessionId,
      cause: ErrorReason.LEASE_EXPIRED,
    });
    expect(reasonOf(await book.open(task, terms, ""))).toBe("LEASE_EXPIRED");
  });

  test("is told to each of several beats that come late at once, and brings nothing back", async () => {
    const { book, clock } = await useLeaseBook();
    const sessionId = await openTask(book, task);
    await clock.advance(durationMs + 1000);
    const late = () => book.beat(task, terms, sessionId);
    const answers = await Promise.all([late(), late(), book.open(task, terms, sessionId), late()]);
    const expired = cancelled(ErrorReason.LEASE_EXPIRED);
    const ended = { kind: "ended", sessionId, cause: ErrorReason.LEASE_EXPIRED };
    expect(answers).toEqual([expired, expired, ended, expired]);
    expect(book.size).toBe(0);
  });

  test("comes in the order of the last beats, each in its own time", async () => {
    const { book, clock, lost } = await useLeaseBook();
    for (const name of ["a", "b", "c"]) {
      await openTask(book, taskNamed(name));
      await clock.advance(1000);
    }
    await book.beat(taskNamed("a"), terms, "");
    await clock.advance(2 * durationMs);
    expect(lost.map(({ taskId }) => taskId)).toEqual(["b", "c", "a"]);
    const endsMs = [1000, 2000, 3000].map((beatMs) => beatMs + durationMs);
    for (const [index, { atMs }] of lost.entries()) {
      expect(atMs - (endsMs[index] ?? 0)).toBeGreaterThanOrEqual(0);
      expect(atMs - (endsMs[index] ?? 0)).toBeLessThanOrEqual(1000);
    }
  });

  test("who wants to be ignored is, may come back, and is held for a full time again", async () => {
    const { book, clock, lost, store } = await useLeaseBook();
    const ignored = { onLost: "ignore" } as const;
    const sessionId = await openTask(book, task, "", ignored);
    await clock.advance(durationMs + 1000);
    expect([lost, store.held(), book.size]).toEqual([[], [], 0]);
    expect(await book.beat(task, { ...terms, ...ignored }, sessionId)).toMatchObject(continues);
    expect([store.held(), book.size]).toEqual([[sessionId], 1]);
    await clock.advance(durationMs + 1000);
    expect(await book.open(task, { ...terms, ...ignored }, sessionId)).toMatchObject({ isResumed: true });
    expect(lost).toEqual([]);
  });
});

describe("what is said of a lost worker", () => {
  test("is tried until there is room for it", async () => {
    const { book, clock, lost, onLost, store } = await useLeaseBook();
    onLost.answer = () => false;
    const beatMs = clock.now();
    await openTask(book, task);
    await clock.advance(durationMs + 10_000);
    expect(lost.length).toBeGreaterThanOrEqual(9);
    expect(store.held()).toHaveLength(1);
    onLost.answer = () => true;
    await clock.advance(2000);
    const said = lost.length;
    expect(store.held()).toEqual([]);
    await clock.advance(10_000);
    expect(lost).toHaveLength(said);
    expect(new Set(lost.map(({ lastBeatMs }) => lastBeatMs))).toEqual(new Set([beatMs]));
  });

  test("is tried again when it goes wrong in a way that nobody foresaw", async () => {
    const { book, clock, lost, onLost, errors } = await useLeaseBook();
    onLost.answer = () => Promise.reject(new Error("nobody foresaw it"));
    await openTask(book, task);
    await clock.advance(durationMs + 3000);
    expect(errors.length).toBeGreaterThanOrEqual(2);
    onLost.answer = () => true;
    await clock.advance(1000);
    const said = lost.length;
    await clock.advance(10_000);
    expect(lost).toHaveLength(said);
  });

  test.each(["the same session", "another one"])("is dropped when %s comes back before", async (who) => {
    const { book, clock, lost, onLost } = await useLeaseBook();
    onLost.answer = () => false;
    const sessionId = await openTask(book, task);
    await clock.advance(durationMs + 1500);
    const said = lost.length;
    expect(said).toBeGreaterThan(0);
    await openTask(book, task, who === "another one" ? "" : sessionId);
    for (let beats = 0; beats < 5; beats += 1) {
      await clock.advance(durationMs / 2);
      await book.beat(task, terms, "");
    }
    expect(lost).toHaveLength(said);
  });

  test("is heard by a worker that comes back while it is being stored", async () => {
    const { book, clock, onLost } = await useLeaseBook();
    const storing = Promise.withResolvers<boolean>();
    onLost.answer = () => storing.promise;
    const sessionId = await openTask(book, task);
    await clock.advance(durationMs + 1000);
    await openTask(book, task, sessionId);
    const { heard, listener } = createEar();
    const stream = book.attach(task, sessionId, listener);
    storing.resolve(true);
    await settle();
    expect(heard).toEqual([[Directive.CANCEL, ErrorReason.LEASE_EXPIRED]]);
    expect(stream?.beat()).toBeUndefined();
  });

  test("is not said by a gateway that stops", async () => {
    const { book, clock, lost, onLost } = await useLeaseBook();
    onLost.answer = () => false;
    await openTask(book, task);
    await clock.advance(durationMs + 1000);
    const said = lost.length;
    await openTask(book, taskNamed("other"));
    const { heard, listener } = createEar();
    book.attach(taskNamed("other"), book.list()[0]?.sessionId ?? "", listener);
    book.stop();
    await clock.advance(5 * durationMs);
    expect(lost).toHaveLength(said);
    expect(heard).toEqual([]);
  });

  test("is not said by a gateway that stops before it has started", async () => {
    const first = await useLeaseBook();
    await openTask(first.book, task);
    first.book.stop();
    const { clock, store } = first;
    const { book, lost } = await useLeaseBook({ clock, store, isStarted: false });
    const starting = book.start();
    book.stop();
    await starting;
    await clock.advance(5 * durationMs);
    expect([lost, book.size]).toEqual([[], 1]);
    expect(clock.pending).toBe(0);
  });
});

describe("sessions", () => {
  test("one that is shown again is resumed, and its older stream superseded", async () => {
    const { book } = await useLeaseBook();
    const sessionId = await openTask(book, task);
    const [older, newer] = [createEar(), createEar()];
    const olderStream = book.attach(task, sessionId, older.listener);
    expect(await book.open(task, terms, sessionId)).toEqual({ kind: "open", sessionId, isResumed: true });
    book.attach(task, sessionId, newer.listener);
    expect([older.heard, newer.heard]).toEqual([["superseded"], []]);
    olderStream?.detach();
    expect(book.list()).toMatchObject([{ sessionId, isConnected: true }]);
  });

  test("a task that is opened without one is taken over, by its own caller only", async () => {
    const { book, store } = await useLeaseBook();
    const first = await openTask(book, task);
    const { heard, listener } = createEar();
    const stream = book.attach(task, first, listener);
    expect(reasonOf(await book.open(task, { ...terms, caller: "bob" }, ""))).toBe("TASK_UNKNOWN");
    expect(reasonOf(await book.open(task, { ...terms, caller: "bob" }, first))).toBe("TASK_UNKNOWN");
    expect(heard).toEqual([]);
    const second = await openTask(book, task);
    expect(heard).toEqual(["superseded"]);
    expect(stream?.beat()).toBeUndefined();
    expect(second).not.toBe(first);
    expect(store.held()).toEqual([second]);
    expect(reasonOf(await book.open(task, terms, first))).toBe("LEASE_SUPERSEDED");
    expect(await book.beat(task, terms, first)).toEqual(cancelled(ErrorReason.LEASE_SUPERSEDED));
    expect(book.admit(task, "ann", first)?.reason).toBe(ErrorReason.LEASE_SUPERSEDED);
    expect(book.admit(task, "ann", second)).toBeUndefined();
  });

  test("one of two that open at once holds the task, and the other one hears that", async () => {
    const { book, store } = await useLeaseBook();
    const opened = await Promise.all([book.open(task, terms, ""), book.open(task, terms, "")]);
    const sessions = opened.map((each) => (each.kind === "failed" ? "" : each.sessionId));
    const holders = sessions.filter((each) => book.attach(task, each, createEar().listener) !== undefined);
    expect(holders).toEqual(store.held());
    const [loser = ""] = sessions.filter((each) => !holders.includes(each));
    expect(await book.beat(task, terms, loser)).toEqual(cancelled(ErrorReason.LEASE_SUPERSEDED));
  });

  test.each(["of a live task", "of a task that nobody holds"])("one that was never given, %s", async (of) => {
    const { book, store } = await useLeaseBook();
    const sessionId = await openTask(book, taskNamed("other"));
    if (of === "of a live task") {
      await openTask(book, task);
    }
    for (const invented of ["invented", sessionId, `${sessionId.slice(0, -1)}~`]) {
      expect(reasonOf(await book.open(task, terms, invented))).toBe("SESSION_UNKNOWN");
      expect(book.admit(task, "ann", invented)?.reason).toBe(ErrorReason.SESSION_UNKNOWN);
      expect(await book.beat(task, terms, invented)).toMatchObject({
        kind: "answered",
        answer: { directive: Directive.RECONNECT, cause: ErrorReason.SESSION_UNKNOWN, sessionId: "" },
      });
    }
    expect(store.held()).toHaveLength(of === "of a live task" ? 2 : 1);
  });

  test("one of another caller's task is unknown although it is right", async () => {
    const { book, clock } = await useLeaseBook();
    const sessionId = await openTask(book, task, "", { onLost: "ignore" });
    await clock.advance(durationMs + 1000);
    expect(reasonOf(await book.open(task, { ...terms, caller: "bob" }, sessionId))).toBe("SESSION_UNKNOWN");
  });

  test("a task that nobody holds any more goes on under the last session only", async () => {
    const { book, clock } = await useLeaseBook();
    const first = await openTask(book, task, "", { onLost: "ignore" });
    const second = await openTask(book, task, "", { onLost: "ignore" });
    await clock.advance(durationMs + 1000);
    expect(reasonOf(await book.open(task, terms, first))).toBe("LEASE_SUPERSEDED");
    expect(await openTask(book, task, second)).toBe(second);
  });

  test("beyond the limit there is no new one, and those that are there go on", async () => {
    const { book } = await useLeaseBook({ maxLeases: 2 });
    const sessionId = await openTask(book, task);
    await book.beat(taskNamed("other"), terms, "");
    expect(reasonOf(await book.open(taskNamed("third"), terms, ""))).toBe("TOO_MANY_SESSIONS");
    expect(reasonOf(await book.beat(taskNamed("third"), terms, ""))).toBe("TOO_MANY_SESSIONS");
    expect(await book.beat(task, terms, sessionId)).toMatchObject(continues);
    await openTask(book, task);
    expect(book.size).toBe(2);
    book.ended(task, ErrorReason.TASK_FINISHED, terms.caller);
    await openTask(book, taskNamed("third"));
  });
});

test("what is kept for lost workers is bounded together, and given back", async () => {
  const { book, store } = await useLeaseBook();
  const large = { lostPayload: "x".repeat(40 * 1024 * 1024) };
  await openTask(book, task, "", large);
  const other = taskNamed("other");
  expect(reasonOf(await book.open(other, { ...terms, ...large }, ""))).toBe("TOO_MANY_SESSIONS");
  expect(reasonOf(await book.beat(other, { ...terms, ...large }, ""))).toBe("TOO_MANY_SESSIONS");
  await openTask(book, other);
  // It takes its own place.
  await openTask(book, task, "", large);
  store.setOutcome(task, "worker");
  book.ended(task, ErrorReason.TASK_FINISHED, terms.caller);
  await openTask(book, other, "", large);
});

describe("a begin that the store refuses", () => {
  test("leaves nobody in the task's place, although two of them come at once", async () => {
    const first = await useLeaseBook();
    await openTask(first.book, task);
    first.store.setOutcome(task, "worker");
    const { book, clock, lost } = await useLeaseBook({ clock: first.clock, store: first.store });
    const answers = await Promise.all([book.beat(task, terms, ""), book.beat(task, terms, "")]);
    expect(answers).toEqual([cancelled(ErrorReason.TASK_FINISHED), cancelled(ErrorReason.TASK_FINISHED)]);
    expect(book.size).toBe(0);
    await clock.advance(durationMs + 1000);
    expect(lost).toEqual([]);
  });

  test("lets another caller have no part in a task, and its owner have all of it", async () => {
    const { book, clock, lost, store } = await useLeaseBook();
    const sessionId = await openTask(book, task, "", { onLost: "ignore" });
    await clock.advance(durationMs + 1000);
    expect(book.size).toBe(0);
    const bob = { ...terms, caller: "bob" };
    const strangers = [book.beat(task, bob, ""), book.open(task, bob, "")];
    const owner = book.beat(task, terms, sessionId);
    expect((await Promise.all(strangers)).map(reasonOf)).toEqual(["TASK_UNKNOWN", "TASK_UNKNOWN"]);
    expect(await owner).toMatchObject(continues);
    expect([book.list()[0]?.caller, store.held()]).toEqual(["ann", [sessionId]]);
    await clock.advance(durationMs - 1);
    expect(lost).toEqual([]);
  });
});

describe("a begin that the store is slow to take", () => {
  test("gives the worker its full time from the answer on", async () => {
    const { book, store, clock, lost } = await useLeaseBook();
    const gate = Promise.withResolvers<void>();
    store.gate = gate.promise;
    const opening = book.open(task, terms, "");
    await clock.advance(2 * durationMs);
    gate.resolve();
    expect((await opening).kind).toBe("open");
    await clock.advance(durationMs - 1);
    expect(lost).toEqual([]);
    await clock.advance(1001);
    expect(lost).toHaveLength(1);
  });

  test("keeps the one who is to be replaced from being lost, and fails without forgetting it", async () => {
    const { book, store, clock, lost } = await useLeaseBook();
    const sessionId = await openTask(book, task);
    const gate = Promise.withResolvers<void>();
    store.gate = gate.promise;
    const opening = book.open(task, terms, "");
    await clock.advance(2 * durationMs);
    expect(lost).toEqual([]);
    store.isBroken = true;
    gate.resolve();
    expect(reasonOf(await opening)).toBe("INTERNAL");
    await clock.advance(1000);
    expect(lost).toMatchObject([{ sessionId }]);
  });

  test("and then fails leaves a lost worker whose report had no room to be reported", async () => {
    const { book, store, clock, lost, onLost } = await useLeaseBook();
    onLost.answer = () => false;
    await openTask(book, task);
    await clock.advance(durationMs + 1000);
    const gate = Promise.withResolvers<void>();
    store.gate = gate.promise;
    const opening = book.open(task, terms, "");
    await clock.advance(3000);
    store.isBroken = true;
    gate.resolve();
    expect(reasonOf(await opening)).toBe("INTERNAL");
    const said = lost.length;
    onLost.answer = () => true;
    await clock.advance(2000);
    expect(lost).toHaveLength(said + 1);
  });
});

describe("a store that fails", () => {
  test("holds nobody", async () => {
    const { book, store, errors, clock, lost } = await useLeaseBook();
    store.isBroken = true;
    expect(reasonOf(await book.open(task, terms, ""))).toBe("INTERNAL");
    expect(reasonOf(await book.beat(task, terms, ""))).toBe("INTERNAL");
    expect([book.size, errors.length]).toEqual([0, 2]);
    await clock.advance(durationMs + 1000);
    expect(lost).toEqual([]);
  });

  test("leaves the one who is to be replaced in its place", async () => {
    const { book, store, clock, lost } = await useLeaseBook();
    const sessionId = await openTask(book, task);
    store.isBroken = true;
    expect(reasonOf(await book.open(task, terms, ""))).toBe("INTERNAL");
    expect(book.list()).toMatchObject([{ sessionId }]);
    store.isBroken = false;
    expect(await book.beat(task, terms, sessionId)).toMatchObject(continues);
    await clock.advance(durationMs + 1000);
    expect(lost).toMatchObject([{ sessionId }]);
  });

  test("lets the newest of two have the task when the older one's begin fails late", async () => {
    const { book, store } = await useLeaseBook();
    const gate = Promise.withResolvers<void>();
    store.gate = gate.promise.then(() => Promise.reject(new Error("the disk is gone")));
    const failing = book.open(task, terms, "");
    store.gate = undefined;
    const sessionId = await openTask(book, task);
    gate.resolve();
    expect(reasonOf(await failing)).toBe("INTERNAL");
    expect(book.list()).toMatchObject([{ sessionId }]);
  });
});

describe("a gateway that was away", () => {
  test("after a restart each lease has its full time anew", async () => {
    const first = await useLeaseBook();
    const sessionId = await openTask(first.book, task);
    await openTask(first.book, taskNamed("ignored"), "", { onLost: "ignore" });
    await openTask(first.book, taskNamed("done"));
    first.store.setOutcome(taskNamed("done"), "worker");
    await first.clock.advance(durationMs - 1);
    first.book.stop();
    const { clock, store } = first;
    await clock.advance(10 * durationMs);
    const { book, lost } = await useLeaseBook({ clock, store });
    expect(book.list().map(({ taskIds }) => taskIds)).toEqual([["t"], ["ignored"]]);
    await clock.advance(durationMs - 1);
    expect(await openTask(book, task, sessionId)).toBe(sessionId);
    await clock.advance(1001);
    expect([lost, book.size]).toEqual([[], 1]);
    await clock.advance(durationMs);
    expect(lost).toMatchObject([{ sessionId }]);
  });

  test("one that has come back before the rest was read keeps what it has", async () => {
    const first = await useLeaseBook();
    const sessionId = await openTask(first.book, task);
    first.book.stop();
    const { clock, store } = first;
    const { book, lost } = await useLeaseBook({ clock, store, isStarted: false });
    await openTask(book, task, sessionId);
    const { heard, listener } = createEar();
    const stream = book.attach(task, sessionId, listener);
    await clock.advance(durationMs - 1);
    await book.start();
    expect(stream?.beat()).toMatchObject({ directive: Directive.CONTINUE, sessionId });
    await clock.advance(durationMs - 1);
    expect([lost, heard]).toEqual([[], []]);
  });

  test.each([1001, 3 * durationMs])("after %d ms in which it stood still, too", async (pauseMs) => {
    const { book, clock, lost } = await useLeaseBook();
    await openTask(book, task);
    await clock.advance(durationMs - 500);
    clock.standStill(pauseMs);
    await clock.advance(durationMs - 1);
    expect(lost).toEqual([]);
    await clock.advance(1001);
    expect(lost).toHaveLength(1);
  });

  test("a pause that comes while a worker is suspected takes the suspicion away", async () => {
    const { book, clock, lost } = await useLeaseBook();
    await openTask(book, task);
    await clock.advance(durationMs + 100);
    expect(lost).toEqual([]);
    clock.standStill(2000);
    await clock.advance(durationMs - 1);
    expect(lost).toEqual([]);
    await clock.advance(1001);
    expect(lost).toHaveLength(1);
  });

  test.each([3_600_000, -3_600_000])(
    "a clock that is set by %d ms gives each its full time",
    async (byMs) => {
      const { book, clock, lost } = await useLeaseBook();
      await openTask(book, task);
      await clock.advance(durationMs - 500);
      clock.jump(byMs);
      await clock.advance(durationMs);
      expect(lost).toEqual([]);
      expect(book.list()[0]?.leaseExpireMs).toBeGreaterThan(clock.now());
      await clock.advance(1000);
      expect(lost).toHaveLength(1);
    },
  );

  test("hiccups of less than a second make no difference", async () => {
    const { book, clock, lost } = await useLeaseBook();
    await openTask(book, task);
    while (lost.length === 0 && clock.steadyNow() < 3 * durationMs) {
      clock.standStill(700);
      await clock.advance(1);
    }
    expect(lost[0]?.atMs).toBeLessThan(durationMs + 2000);
  });
});

describe("a task that ends", () => {
  test("is held no longer, and its stream hears of an end that it did not say", async () => {
    const { book, clock, lost, store } = await useLeaseBook();
    const sessionId = await openTask(book, task);
    const { heard, listener } = createEar();
    book.attach(task, sessionId, listener);
    store.setOutcome(task, "worker");
    book.ended(task, ErrorReason.TASK_FINISHED, terms.caller);
    expect(heard).toEqual([[Directive.CANCEL, ErrorReason.TASK_FINISHED]]);
    expect(await book.beat(task, terms, sessionId)).toEqual(cancelled(ErrorReason.TASK_FINISHED));
    expect(await book.beat(task, terms, "")).toEqual(cancelled(ErrorReason.TASK_FINISHED));
    expect(reasonOf(await book.beat(task, { ...terms, caller: "bob" }, ""))).toBe("TASK_UNKNOWN");
    expect(reasonOf(await book.open(task, terms, ""))).toBe("TASK_FINISHED");
    expect(reasonOf(await book.open(task, { ...terms, caller: "bob" }, ""))).toBe("TASK_UNKNOWN");
    await clock.advance(durationMs + 1000);
    expect(lost).toEqual([]);
  });

  test("and whose outcome counts no more has its full time again", async () => {
    const { book, clock, lost, store } = await useLeaseBook();
    const sessionId = await openTask(book, task);
    store.setOutcome(task, "worker");
    book.ended(task, ErrorReason.TASK_FINISHED, terms.caller);
    await clock.advance(5 * durationMs);
    store.setOutcome(task, "nobody");
    await book.reopened(task);
    expect(book.attach(task, sessionId, createEar().listener)?.beat()).toMatchObject({
      directive: Directive.CONTINUE,
    });
    await book.reopened(task);
    await clock.advance(durationMs);
    expect(lost).toEqual([]);
    await clock.advance(1000);
    expect(lost).toMatchObject([{ sessionId }]);
  });

  test("because its upstream says so has no lease, and every beat and session hears it", async () => {
    const { book, clock, lost, store } = await useLeaseBook();
    const sessionId = await openTask(book, task);
    const { heard, listener } = createEar();
    book.attach(task, sessionId, listener);
    book.ended(task, ErrorReason.TASK_CANCELLED, terms.caller);
    await settle();
    expect(heard).toEqual([[Directive.CANCEL, ErrorReason.TASK_CANCELLED]]);
    expect(store.held()).toEqual([]);
    for (const shown of [sessionId, ""]) {
      expect(await book.beat(task, terms, shown)).toEqual(cancelled(ErrorReason.TASK_CANCELLED));
    }
    expect(await book.open(task, terms, sessionId)).toMatchObject({
      kind: "ended",
      cause: ErrorReason.TASK_CANCELLED,
    });
    await clock.advance(durationMs + 1000);
    expect(lost).toEqual([]);
    expect(await openTask(book, task)).not.toBe(sessionId);
    expect(await book.beat(task, terms, "")).toMatchObject(continues);
  });

  test.each([
    ["another caller", { caller: "bob", sessionId: "" }],
    ["an invented session", { caller: "ann", sessionId: "invented" }],
  ])("for good is not brought back by %s", async (_, { caller, sessionId: shown }) => {
    const { book } = await useLeaseBook();
    const sessionId = await openTask(book, task);
    book.ended(task, ErrorReason.TASK_CANCELLED, terms.caller);
    expect((await book.open(task, { ...terms, caller }, shown)).kind).toBe("failed");
    expect(await book.beat(task, terms, sessionId)).toEqual(cancelled(ErrorReason.TASK_CANCELLED));
  });

  test("says so to nobody else", async () => {
    const { book } = await useLeaseBook();
    await openTask(book, task);
    book.ended(task, ErrorReason.TASK_CANCELLED, terms.caller);
    expect(await book.beat(task, { ...terms, caller: "bob" }, "")).toMatchObject({
      kind: "failed",
      failure: { reason: ErrorReason.TASK_UNKNOWN },
    });
  });

  test("is remembered among ten thousand, and the oldest forgotten", async () => {
    const { book } = await useLeaseBook();
    for (let count = 0; count <= 10_000; count += 1) {
      book.ended(taskNamed(String(count)), ErrorReason.TASK_CANCELLED, terms.caller);
    }
    expect(await book.beat(taskNamed("1"), terms, "")).toEqual(cancelled(ErrorReason.TASK_CANCELLED));
    expect(await book.beat(taskNamed("0"), terms, "")).toMatchObject(continues);
  });
});

test("a drain is told to every stream and every beat, and takes nothing new", async () => {
  const { book } = await useLeaseBook();
  const sessionId = await openTask(book, task);
  const { heard, listener } = createEar();
  const stream = book.attach(task, sessionId, listener);
  book.drain();
  expect(heard).toEqual([[Directive.DRAIN, ErrorReason.DRAINING]]);
  const drains = { directive: Directive.DRAIN, cause: ErrorReason.DRAINING };
  expect(stream?.beat()).toMatchObject({ ...drains, sessionId });
  expect(await book.beat(task, terms, sessionId)).toMatchObject({ kind: "answered", answer: drains });
  expect(await openTask(book, task, sessionId)).toBe(sessionId);
  expect(reasonOf(await book.open(taskNamed("new"), terms, ""))).toBe("DRAINING");
  expect(reasonOf(await book.open(task, terms, ""))).toBe("DRAINING");
  expect(book.admit(task, "ann", sessionId)).toBeUndefined();
  expect(heard).toHaveLength(1);
});

test("a list of the sessions tells who is connected", async () => {
  const { book, clock } = await useLeaseBook();
  const sessionId = await openTask(book, task);
  const stream = book.attach(task, sessionId, createEar().listener);
  const createMs = clock.now();
  await clock.advance(1000);
  const listed = { upstream: "orchestra", caller: "ann", worker: "", taskIds: ["t"], sessionId, createMs };
  expect(book.list()).toEqual([
    { ...listed, lastBeatMs: createMs, leaseExpireMs: createMs + durationMs, isConnected: true },
  ]);
  stream?.detach();
  expect(book.list()).toMatchObject([{ isConnected: false }]);
});
