import { expect, test } from "vitest";
import { DeliveryState } from "../../gen/taskgate/v1/receipt_pb.ts";
import type { DeliveryKind } from "../../src/model/delivery.ts";
import { runOnFullDisk } from "../../src/outbox/run-on-full-disk.ts";
import type { AcceptOp } from "../../src/outbox/store.ts";
import { acceptOf, delivered, newReport, startMs, useStore } from "./use-store.ts";

const diskFull = { kind: "refused", refusal: { reason: "full", limit: "the disk is full" } };

/** A store that has met the end of its disk. */
function useFullDisk(before: readonly AcceptOp[] = []) {
  const store = useStore();
  const ballast = {
    size: 0,
    isDropped: false,
    isRoomLeft: false,
    drop() {
      ballast.isDropped = true;
    },
    restore: () => false,
    hasRoom: () => ballast.isRoomLeft,
  };
  const runAll = runOnFullDisk(store.db, store, ballast);
  runAll(before);
  store.db.exec("PRAGMA max_page_count = 1");
  expect(runAll([large])).toEqual([diskFull]);
  expect(ballast.isDropped).toBe(true);
  return { store, ballast, runAll };
}

const large = acceptOf(newReport("output", "large", "x".repeat(100_000)));

function report(kind: DeliveryKind, task: string, body: string, requestId = ""): AcceptOp {
  return acceptOf(newReport(kind, task, body), { requestId, contentHash: body, mayLeave: true });
}

test("what is stored can be marked as delivered, and what is new is refused", () => {
  const { runAll, store } = useFullDisk([report("output", "a", "1")]);
  const settled = { type: "settle", seq: 1, settlement: delivered, nowMs: startMs } as const;
  expect(runAll([{ ...settled, claimNext: false, supersede: false }, report("output", "a", "2")])[1]).toEqual(
    diskFull,
  );
  expect(store.get(1).state).toBe(DeliveryState.DELIVERED);
});

test("a lease is taken as long as the ballast has room", () => {
  const { ballast, runAll, store } = useFullDisk();
  const task = { upstream: "orchestra", lane: "orchestra", key: "a/0", taskId: "a", attempt: "0" };
  const lease = {
    task,
    caller: "alice",
    sessionId: "s",
    onLost: "fail",
    lostPayload: "",
    createMs: startMs,
  } as const;
  expect(runAll([{ type: "beginLease", lease, nowMs: startMs }])).toEqual([{ kind: "full" }]);
  ballast.isRoomLeft = true;
  store.db.exec("PRAGMA max_page_count = 1000");
  expect(runAll([{ type: "beginLease", lease, nowMs: startMs }])).toEqual([{ kind: "begun" }]);
});

test("an outcome is taken as long as the ballast has room", () => {
  const { ballast, runAll, store } = useFullDisk();
  expect(runAll([report("outcome", "a", "1")])).toEqual([diskFull]);
  ballast.isRoomLeft = true;
  store.db.exec("PRAGMA max_page_count = 1000");
  expect(runAll([report("outcome", "a", "1"), report("output", "b", "2")])).toMatchObject([
    { kind: "stored" },
    diskFull,
  ]);
});

test("what came before is answered as ever", () => {
  const { runAll } = useFullDisk([report("output", "a", "1", "r1"), report("outcome", "a", "done", "r2")]);
  expect(
    runAll([
      report("output", "a", "1", "r1"),
      report("output", "a", "other", "r1"),
      report("outcome", "a", "done", "r2"),
      report("outcome", "a", "done"),
      report("outcome", "a", "failed"),
      report("status", "a", "late"),
      report("status", "b", "new", "r3"),
    ]),
  ).toMatchObject([
    { kind: "known", row: { seq: 1 } },
    { refusal: { reason: "requestIdReused" } },
    { kind: "known", row: { seq: 2 } },
    { kind: "known", row: { seq: 2 } },
    { refusal: { reason: "conflictingOutcome" } },
    { refusal: { reason: "taskFinished" } },
    diskFull,
  ]);
});
