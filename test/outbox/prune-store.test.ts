import { expect, test } from "vitest";
import { DeliveryState } from "../../gen/taskgate/v1/receipt_pb.ts";
import type { PruneOp } from "../../src/outbox/store.ts";
import { delivered, newReport, rejected, type StoreUnderTest, startMs, useStore } from "./use-store.ts";

const hourMs = 3_600_000;
const everything: PruneOp = {
  type: "prune",
  deliveriesBeforeMs: startMs + hourMs,
  recordsBeforeMs: startMs - hourMs,
  maxEnded: 1000,
  maxRows: 500,
};

function end(
  store: StoreUnderTest,
  key: string,
  kind: "status" | "outcome" = "status",
  nowMs = startMs,
): number {
  const { seq } = store.accept(newReport(kind, key, key), {
    mayLeave: true,
    requestId: `request-${key}`,
    contentHash: "h",
  });
  store.settle(seq, delivered, { nowMs });
  return seq;
}

const count = (store: StoreUnderTest, table: string) =>
  Number(store.db.prepare(`SELECT count(*) AS rows FROM ${table}`).get()?.rows);

test("drops deliveries that ended before, and none that waits", () => {
  const store = useStore();
  end(store, "old");
  end(store, "new", "status", startMs + 2 * hourMs);
  store.accept(newReport("status", "waits", "waits"));
  expect(store.run(everything)).toEqual({ isMore: false });
  expect(store.list().map(({ taskId }) => taskId)).toEqual(["new", "waits"]);
});

test("answers a request id and an outcome with the receipt after the delivery is gone", () => {
  const store = useStore();
  const { id } = store.get(end(store, "a", "outcome"));
  const seq = store.accept(newReport("outcome", "b", "b"), { mayLeave: true }).seq;
  store.settle(seq, rejected);
  const refused = store.get(seq);
  store.run(everything);
  expect(count(store, "delivery")).toBe(0);
  const known = { kind: "known", row: { id, state: DeliveryState.DELIVERED } };
  const again = newReport("outcome", "a", "a");
  expect(store.tryAccept(again, { requestId: "request-a", contentHash: "h" })).toMatchObject(known);
  expect(store.tryAccept(again)).toMatchObject(known);
  expect(store.tryAccept(newReport("outcome", "a", "other"))).toMatchObject({
    refusal: { reason: "conflictingOutcome", deliveryId: id },
  });
  expect(store.tryAccept(newReport("status", "a", "x"))).toMatchObject({
    refusal: { reason: "taskFinished" },
  });
  const answered = store.tryAccept(newReport("outcome", "b", "b"));
  expect(answered).toMatchObject({ kind: "known", row: { id: refused.id, state: DeliveryState.REJECTED } });
  expect(answered.kind === "known" && Buffer.from(answered.row.failure ?? [])).toEqual(
    Buffer.from(refused.failure ?? []),
  );
});

test("forgets request ids, outcomes and tasks after their own time", () => {
  const store = useStore();
  end(store, "a", "outcome");
  store.run(everything);
  expect([count(store, "request"), count(store, "task")]).toEqual([1, 1]);
  store.run({ ...everything, recordsBeforeMs: startMs + hourMs });
  expect([count(store, "request"), count(store, "task")]).toEqual([0, 0]);
  expect(store.accept(newReport("outcome", "a", "other")).seq).toBe(2);
});

test("keeps the task of whatever waits", () => {
  const store = useStore();
  store.accept(newReport("status", "a", "a"), { requestId: "r", contentHash: "h" });
  store.run({ ...everything, recordsBeforeMs: startMs + hourMs });
  expect([count(store, "delivery"), count(store, "request"), count(store, "task")]).toEqual([1, 1, 1]);
});

test("keeps no more ended deliveries than it may, and drops the oldest", () => {
  const store = useStore();
  for (let ended = 0; ended < 10; ended += 1) {
    end(store, `t${ended}`, "status", startMs + ended);
  }
  store.run({ ...everything, deliveriesBeforeMs: startMs, maxEnded: 3 });
  expect(store.list().map(({ taskId }) => taskId)).toEqual(["t7", "t8", "t9"]);
});

test("drops a bounded number of rows at a time, and says whether there may be more", () => {
  const store = useStore();
  for (let ended = 0; ended < 7; ended += 1) {
    end(store, `t${ended}`);
  }
  const steps: number[] = [];
  let isMore = true;
  while (isMore) {
    isMore = store.run({ ...everything, recordsBeforeMs: startMs + hourMs, maxRows: 3 }).isMore;
    steps.push(count(store, "delivery"));
  }
  expect(steps.slice(0, 3)).toEqual([4, 1, 0]);
  expect([count(store, "request"), count(store, "task")]).toEqual([0, 0]);
});

test("keeps a task while a lease of it is in force, and as long behind its end as anything", () => {
  const store = useStore();
  const task = { upstream: "orchestra", lane: "orchestra", key: "leased", taskId: "leased", attempt: "0" };
  const terms = { caller: "c", onLost: "ignore", lostPayload: "" } as const;
  const lease = { ...terms, task, sessionId: "s", createMs: startMs };
  store.run({ type: "beginLease", lease, nowMs: startMs });
  const later = { ...everything, recordsBeforeMs: startMs + 48 * hourMs };
  store.run(later);
  expect(store.run({ type: "leases", afterId: 0, limit: 10 }).leases).toEqual([lease]);
  const { upstream, key, sessionId } = { ...task, ...lease };
  store.run({ type: "endLease", upstream, key, sessionId, nowMs: startMs + 49 * hourMs });
  store.run(later);
  expect(store.run({ type: "task", upstream, key })).toMatchObject({ caller: "c", sessionId: "s" });
  store.run({ ...everything, recordsBeforeMs: startMs + 50 * hourMs });
  expect(store.run({ type: "task", upstream, key })).toBeUndefined();
});
