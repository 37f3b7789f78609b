import { DatabaseSync } from "node:sqlite";
import { describe, expect, test } from "vitest";
import { DeliveryState } from "../../gen/taskgate/v1/receipt_pb.ts";
import { deliveryIdOf, seqOfDeliveryId } from "../../src/outbox/delivery-id.ts";
import { doubtFloorMs } from "../../src/outbox/doubt-floor.ts";
import { migrate, schemaVersion } from "../../src/outbox/schema.ts";
import type { StoreOp } from "../../src/outbox/store.ts";
import {
  acceptOf,
  again,
  delivered,
  newReport,
  type StoreUnderTest,
  someFailure,
  startMs,
  useStore,
} from "./use-store.ts";

describe("quotas", () => {
  const quota = { maxRows: 10, maxBytes: 1000, outcomeReserve: 0.2 };
  const full = { kind: "refused", refusal: { reason: "full" } };

  test("keep a reserve that only outcomes may use", () => {
    const store = useStore(quota);
    for (let task = 0; task < 8; task += 1) {
      store.accept(newReport("status", `t${task}`, "x"));
    }
    expect(store.tryAccept(newReport("status", "t8", "x"))).toMatchObject(full);
    expect(store.tryAccept(newReport("log", "t8", "x"))).toMatchObject(full);
    store.accept(newReport("outcome", "t8", "x"));
    store.accept(newReport("outcome", "t9", "x"));
    expect(store.tryAccept(newReport("outcome", "t10", "x"))).toMatchObject(full);
  });

  test("count bytes as they are stored, not characters", () => {
    const store = useStore(quota);
    store.accept(newReport("status", "a", "ü".repeat(350)));
    expect(store.tryAccept(newReport("status", "b", "ü".repeat(51)))).toMatchObject(full);
    store.accept(newReport("status", "b", "ü".repeat(50)));
    expect(store.run({ type: "backlog" })).toEqual([
      { upstream: "orchestra", lane: "orchestra", rows: 2, bytes: 800, oldestMs: null },
    ]);
  });

  test("are per upstream, over all of its lanes", () => {
    const store = useStore({ ...quota, maxRows: 2, outcomeReserve: 0 });
    const callback = { upstream: "orchestrator" };
    store.accept(newReport("status", "a", "x", { ...callback, lane: "one" }));
    store.accept(newReport("status", "b", "x", { ...callback, lane: "two" }));
    expect(store.tryAccept(newReport("status", "c", "x", { ...callback, lane: "three" }))).toMatchObject(
      full,
    );
    expect(store.tryAccept(newReport("status", "d", "x"))).toMatchObject({ kind: "stored" });
  });

  test("have room again for what has ended, and for nothing else", () => {
    const store = useStore({ maxRows: 1, maxBytes: 1000, outcomeReserve: 0 });
    const { seq } = store.accept(newReport("status", "a", "x"), { mayLeave: true });
    store.settle(seq, again(startMs));
    expect(store.tryAccept(newReport("status", "b", "x"))).toMatchObject(full);
    store.claim();
    store.settle(seq, delivered);
    store.accept(newReport("status", "b", "x"));
  });

  test("are counted right after a crash", () => {
    const store = useStore(quota);
    store.accept(newReport("status", "a", "abc"));
    store.accept(newReport("status", "a", "de"));
    store.reopen();
    expect(store.run({ type: "backlog" })).toMatchObject([{ rows: 2, bytes: 5 }]);
  });
});

describe("the oldest that waits", () => {
  const oldest = (store: StoreUnderTest) =>
    store.run({ type: "backlog", withAge: true }).map(({ oldestMs }) => oldestMs);

  test("is found in each lane, and is none where nothing waits", () => {
    const store = useStore();
    const other = { lane: "other" };
    const first = store.accept(newReport("status", "a", "1"), { mayLeave: true });
    store.accept(newReport("status", "b", "2", other), { nowMs: startMs + 1 });
    store.accept(newReport("status", "c", "3"), { nowMs: startMs + 2 });
    expect(oldest(store)).toEqual([startMs, startMs + 1]);
    store.settle(first.seq, delivered);
    expect(oldest(store)).toEqual([startMs + 2, startMs + 1]);
    const claimed = store.claim({ nowMs: startMs + 2 });
    expect(oldest(store)).toEqual([startMs + 2, startMs + 1]);
    store.settle(claimed.claimed[0]?.row.seq ?? 0, delivered);
    expect(oldest(store)).toEqual([null, startMs + 1]);
  });

  test("is one again that waited before, when an operator retries it", () => {
    const store = useStore();
    const first = store.accept(newReport("status", "a", "1"), { mayLeave: true });
    store.settle(first.seq, { kind: "rejected", failure: someFailure, isTaskOpen: false });
    store.accept(newReport("status", "b", "2"), { nowMs: startMs + 1 });
    expect(oldest(store)).toEqual([startMs + 1]);
    store.move("retry", first.seq);
    expect(oldest(store)).toEqual([startMs]);
  });

  test("is found after a transaction that was undone", () => {
    const store = useStore();
    const first = store.accept(newReport("status", "a", "1"), { mayLeave: true });
    const settle = { type: "settle", seq: first.seq, settlement: delivered, nowMs: startMs } as const;
    expect(() =>
      store.runAll([
        acceptOf(newReport("status", "b", "2"), { nowMs: startMs + 1 }),
        { ...settle, claimNext: false, supersede: false },
        { type: "backlog", withAge: true },
        { type: "get" } as unknown as StoreOp,
      ]),
    ).toThrow();
    expect(oldest(store)).toEqual([startMs]);
  });
});

describe("a transaction", () => {
  const broken = { type: "get" } as unknown as StoreOp;

  test("that fails leaves nothing behind, in the database and in the counts", () => {
    const store = useStore();
    store.accept(newReport("status", "a", "1"));
    const ops = [acceptOf(newReport("status", "b", "2", { lane: "new" })), broken];
    expect(() => store.runAll(ops)).toThrow();
    expect(store.run({ type: "backlog" })).toEqual([
      { upstream: "orchestra", lane: "orchestra", rows: 1, bytes: 1, oldestMs: null },
    ]);
    expect(store.list()).toHaveLength(1);
    store.accept(newReport("status", "b", "2", { lane: "new" }));
    expect(store.claimBodies({ lane: "new" })).toEqual(["2"]);
  });

  test("does its operations in their order", () => {
    const store = useStore();
    const [first, second] = store.runAll([
      acceptOf(newReport("outcome", "a", "done"), { mayLeave: true }),
      acceptOf(newReport("status", "a", "late")),
    ]);
    expect(first).toMatchObject({ kind: "stored", claimed: { body: "done" } });
    expect(second).toMatchObject({ kind: "refused", refusal: { reason: "taskFinished" } });
  });
});

describe("opening again", () => {
  test("counts what was under way as in doubt, and goes on with it where it was", () => {
    const store = useStore();
    const { seq } = store.accept(newReport("output", "a", "1"), { mayLeave: true });
    store.accept(newReport("outcome", "a", "2"));
    const waiting = store.accept(newReport("output", "b", "3"), { mayLeave: true });
    store.settle(waiting.seq, again(startMs + 60_000, { isOwnFailure: true }));
    store.accept(newReport("output", "c", "4"));
    store.reopen();
    expect(store.get(seq)).toMatchObject({ isInDoubt: true, attempts: 1, state: DeliveryState.STORED });
    expect(store.get(waiting.seq)).toMatchObject({
      isInDoubt: false,
      attempts: 1,
      nextAttemptMs: startMs + 60_000,
    });
    const { claimed } = store.claim({ nowMs: startMs + 60_000 });
    expect(
      claimed.map(({ body, row, ownFailures }) => [body, row.attempts, row.isInDoubt, ownFailures]),
    ).toEqual([
      ["1", 2, true, 0],
      ["4", 1, false, 0],
      ["3", 2, false, 1],
    ]);
  });

  test("lets what was under way be surely over before it is sent again", () => {
    const store = useStore();
    const callback = { upstream: "orchestrator", lane: "orchestrator" };
    const floorMs = Number(doubtFloorMs.orchestrator);
    store.accept(newReport("outcome", "a", "1", callback), { mayLeave: true });
    store.reopen();
    expect(store.claimBodies({ lane: "orchestrator", nowMs: startMs + floorMs - 1 })).toEqual([]);
    expect(store.claimBodies({ lane: "orchestrator", nowMs: startMs + floorMs })).toEqual(["1"]);
  });

  test("keeps what tells its delivery ids from others'", () => {
    const store = useStore();
    const { seq, id } = store.accept(newReport("status", "a", "1"));
    store.reopen();
    expect(store.get(seq).id).toBe(id);
    expect(seqOfDeliveryId(id, 1234)).toBe(seq);
    expect(seqOfDeliveryId(id, 4321)).toBeUndefined();
  });

  test("refuses a schema of a newer version, and does not touch it", () => {
    const db = new DatabaseSync(":memory:");
    migrate(db);
    db.exec(
      `PRAGMA user_version = ${schemaVersion + 1}; UPDATE meta SET value = '${schemaVersion + 1}' WHERE name = 'schema'`,
    );
    expect(() => migrate(db)).toThrow(
      new RegExp(`schema version ${schemaVersion + 1}.*use the version that wrote it`),
    );
    expect(db.prepare("PRAGMA user_version").get()).toEqual({ user_version: schemaVersion + 1 });
    db.close();
  });

  test("brings a schema of version 2 up to date, with what waits in it", () => {
    const store = useStore();
    const { seq } = store.accept(newReport("status", "a", "1"));
    store.accept(newReport("status", "a", "2"));
    store.db.exec(
      `DROP INDEX delivery_stored; DROP INDEX delivery_by_task;
       CREATE INDEX delivery_by_task ON delivery (task, state, seq);
       PRAGMA user_version = 2; UPDATE meta SET value = '2' WHERE name = 'schema'`,
    );
    migrate(store.db);
    expect(store.db.prepare("PRAGMA user_version").get()).toEqual({ user_version: schemaVersion });
    store.reopen();
    expect(store.claim().claimed.map(({ row }) => row.seq)).toEqual([seq]);
    const settled = store.settle(seq, { kind: "delivered", answer: "" }, { claimNext: false });
    expect(settled.hasNext).toBe(true);
    expect(store.db.prepare("PRAGMA integrity_check").get()).toEqual({ integrity_check: "ok" });
    const fresh = new DatabaseSync(":memory:");
    migrate(fresh);
    const [indexes, freshIndexes] = [store.db, fresh].map((db) =>
      db.prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'index' ORDER BY name").all(),
    );
    expect(indexes).toEqual(freshIndexes);
    fresh.close();
  });

  test.each([
    ["what waits of a task", "task = 1 AND state = 1 ORDER BY seq LIMIT 1", "delivery_stored"],
    ["all of a task", "task = 1 AND seq > 5", "delivery_by_task"],
    ["what ended long ago", "end_ms < 5 ORDER BY end_ms LIMIT 1", "delivery_by_end"],
  ])("finds %s by an index of its own", (_, conditions, index) => {
    const { db } = useStore();
    const plan = db.prepare(`EXPLAIN QUERY PLAN SELECT * FROM delivery WHERE ${conditions}`).all();
    expect(plan.map(({ detail }) => detail)).toEqual([expect.stringContaining(`USING INDEX ${index} `)]);
  });

  test("leaves a schema of this version as it is", () => {
    const store = useStore();
    store.accept(newReport("status", "a", "1"));
    migrate(store.db);
    expect(store.claimBodies()).toEqual(["1"]);
  });
});

describe("questions", () => {
  test("list deliveries oldest first, page by page, by upstream, state and task", () => {
    const store = useStore();
    for (const key of ["a", "b", "a", "c", "a"]) {
      store.accept(newReport("output", key, key, key === "c" ? { upstream: "aidbox", lane: "aidbox" } : {}));
    }
    const { seq } = store.accept(newReport("status", "d", "d"), { mayLeave: true });
    store.settle(seq, delivered);
    const seqs = (filter: object, afterSeq = 0, limit = 100) =>
      store.run({ type: "list", filter, afterSeq, limit }).rows.map(({ seq }) => seq);
    expect(seqs({})).toEqual([1, 2, 3, 4, 5, 6]);
    expect(seqs({}, 2, 2)).toEqual([3, 4]);
    expect(seqs({ taskId: "a" }, 1)).toEqual([3, 5]);
    expect(seqs({ upstream: "aidbox" })).toEqual([4]);
    expect(seqs({ states: [DeliveryState.DELIVERED] })).toEqual([6]);
    expect(seqs({ states: [] })).toEqual([]);
  });

  test("find rows that fit behind thousands that do not", () => {
    const store = useStore();
    store.runAll(
      Array.from({ length: 1300 }, (_, index) =>
        acceptOf(newReport("output", `t${index}`, "x", index === 1299 ? { upstream: "aidbox" } : {})),
      ),
    );
    expect(store.list({ upstream: "aidbox" }).map(({ seq }) => seq)).toEqual([1300]);
  });

  test("find outcomes that wait for their next attempt, or whose attempt takes long", () => {
    const store = useStore();
    store.accept(newReport("outcome", "waits", "x"));
    store.accept(newReport("outcome", "under way", "x"), { mayLeave: true });
    store.accept(newReport("outcome", "long under way", "x"), { mayLeave: true, nowMs: startMs - 1 });
    const ended = store.accept(newReport("outcome", "ended", "x"), { mayLeave: true, nowMs: startMs - 1 });
    store.settle(ended.seq, delivered, { nowMs: startMs - 1 });
    store.accept(newReport("status", "no outcome", "x"));
    store.accept(newReport("output", "behind", "x"));
    store.accept(newReport("outcome", "behind", "y"));
    const op = { type: "waiting", upstream: "orchestra", begunBeforeMs: startMs, limit: 10 } as const;
    const waiting = store.run({ ...op, afterSeq: 0 });
    expect(waiting.map(({ taskId }) => taskId)).toEqual(["waits", "long under way", "behind"]);
    const [first] = waiting;
    expect(store.run({ ...op, afterSeq: Number(first?.seq) }).map(({ taskId }) => taskId)).toEqual([
      "long under way",
      "behind",
    ]);
    expect(store.run({ ...op, upstream: "aidbox", afterSeq: 0 })).toEqual([]);
  });

  test("say how a task stands", () => {
    const store = useStore();
    const ask = () => store.run({ type: "task", upstream: "orchestra", key: "a/0" });
    expect(ask()).toBeUndefined();
    store.accept(newReport("status", "a", "x"));
    expect(ask()).toEqual({ caller: "alice", outcomeBy: "nobody", sessionId: "" });
    store.accept(newReport("outcome", "a", "done"));
    expect(ask()).toEqual({ caller: "alice", outcomeBy: "worker", sessionId: "" });
  });
});

test("a delivery id is a UUID of version 7 that sorts by time and names its number", () => {
  const ids = [1, 2, 2 ** 40].map((seq) => deliveryIdOf(seq, startMs + seq, 16383));
  for (const id of ids) {
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  }
  expect(ids.toSorted()).toEqual(ids);
  expect(ids.map((id) => seqOfDeliveryId(id, 16383))).toEqual([1, 2, 2 ** 40]);
  expect(seqOfDeliveryId("1d876307-8c0a-42a1-8299-af0516223652", 16383)).toBeUndefined();
});
