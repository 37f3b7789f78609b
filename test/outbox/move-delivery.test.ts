import { describe, expect, test } from "vitest";
import { DeliveryState } from "../../gen/taskgate/v1/receipt_pb.ts";
import { doubtFloorMs } from "../../src/outbox/doubt-floor.ts";
import {
  again,
  delivered,
  newReport,
  rejected,
  rejectedAndOpen,
  type StoreUnderTest,
  startMs,
  unconfirmed,
  useStore,
} from "./use-store.ts";

/** Sends what can be sent until nothing is left, and says in which order. */
function drain(store: StoreUnderTest): string[] {
  const sent: string[] = [];
  for (;;) {
    const { claimed } = store.claim();
    if (claimed.length === 0) {
      return sent;
    }
    for (const { row, body } of claimed) {
      sent.push(body);
      store.settle(row.seq, delivered);
    }
  }
}

function sent(
  store: StoreUnderTest,
  ...[kind, body]: ["status" | "log" | "outcome" | "output", string]
): number {
  return store.accept(newReport(kind, "a", body), { mayLeave: true }).seq;
}

const callbackLane = { upstream: "orchestrator", lane: "orchestrator" };
const floorMs = Number(doubtFloorMs.orchestrator);

/** A callback's outcome whose attempt has just ended in doubt. */
function useDoubt() {
  const store = useStore();
  const { seq } = store.accept(newReport("outcome", "a", "done", callbackLane), { mayLeave: true });
  store.settle(seq, again(startMs + 60_000, { isInDoubt: true }));
  const move = (type: "retry" | "discard", afterMs: number) =>
    store.run({ type, seq, nowMs: startMs + afterMs });
  const claim = (afterMs: number) => store.claimBodies({ lane: "orchestrator", nowMs: startMs + afterMs });
  return { store, seq, move, claim };
}

describe("retrying by hand", () => {
  test("lets an attempt in doubt be surely over, however often it is asked for", () => {
    const { move, claim } = useDoubt();
    expect(move("retry", 1000)).toMatchObject({ kind: "moved", row: { nextAttemptMs: startMs + floorMs } });
    expect(move("retry", 2000)).toMatchObject({ kind: "moved", row: { nextAttemptMs: startMs + floorMs } });
    expect(claim(floorMs - 1)).toEqual([]);
    expect(claim(floorMs)).toEqual(["done"]);
  });

  test("makes one in doubt due at once when that attempt is surely over, or the clock was set back", () => {
    for (const afterMs of [floorMs, -10 * 365 * 86_400_000]) {
      const { move, claim } = useDoubt();
      expect(move("retry", afterMs)).toMatchObject({ row: { nextAttemptMs: startMs + afterMs } });
      expect(claim(afterMs)).toEqual(["done"]);
    }
  });

  test("lets the attempt of a gateway that was killed be surely over", () => {
    const store = useStore();
    const { seq } = store.accept(newReport("outcome", "a", "done", callbackLane), { mayLeave: true });
    store.reopen(startMs + 60_000);
    expect(store.run({ type: "retry", seq, nowMs: startMs + 61_000 })).toMatchObject({
      row: { nextAttemptMs: startMs + 60_000 + floorMs },
    });
  });

  test("sends a refused delivery again", () => {
    const store = useStore();
    const seq = sent(store, "output", "1");
    store.settle(seq, rejected);
    expect(store.move("retry", seq)).toMatchObject({
      kind: "moved",
      lane: "orchestra",
      row: { state: DeliveryState.STORED, endMs: null, nextAttemptMs: startMs },
    });
    expect(store.run({ type: "backlog" })).toMatchObject([{ rows: 1, bytes: 1 }]);
    expect(drain(store)).toEqual(["1"]);
  });

  test("sends an unconfirmed delivery again, in doubt", () => {
    const store = useStore();
    const seq = sent(store, "outcome", "done");
    store.settle(seq, unconfirmed);
    expect(store.move("retry", seq)).toMatchObject({ row: { isInDoubt: true } });
    expect(store.claim().claimed).toMatchObject([{ body: "done", row: { isInDoubt: true, attempts: 2 } }]);
  });

  test("makes one that waits for its next attempt due at once", () => {
    const store = useStore();
    const seq = sent(store, "output", "1");
    store.settle(seq, again(startMs + 60_000));
    expect(store.claimBodies()).toEqual([]);
    expect(store.move("retry", seq)).toMatchObject({ row: { nextAttemptMs: startMs } });
    expect(store.claimBodies()).toEqual(["1"]);
  });

  test("changes nothing for one that is under way or not yet first", () => {
    const store = useStore();
    const seq = sent(store, "output", "1");
    const { seq: second } = store.accept(newReport("output", "a", "2"));
    expect(store.move("retry", seq)).toMatchObject({ kind: "moved", row: { nextAttemptMs: null } });
    expect(store.move("retry", second)).toMatchObject({ kind: "moved", row: { nextAttemptMs: null } });
    expect(store.claimBodies()).toEqual([]);
  });

  test.for([
    [delivered, "it is DELIVERED"],
    ["discard", "it is DISCARDED"],
  ] as const)("is refused for what has ended well or by hand: %s", ([how, why]) => {
    const store = useStore();
    const { seq } = store.accept(newReport("output", "a", "1"), { mayLeave: how !== "discard" });
    if (how === "discard") {
      store.move("discard", seq);
    } else {
      store.settle(seq, how);
    }
    expect(store.move("retry", seq)).toEqual({ kind: "refused", why });
  });

  test("is refused once a later delivery of the task has left", () => {
    const store = useStore();
    const seq = sent(store, "output", "1");
    store.settle(seq, rejected);
    sent(store, "output", "2");
    expect(store.move("retry", seq)).toMatchObject({ kind: "refused" });
  });

  test("is not refused because a later log has left", () => {
    const store = useStore();
    const seq = sent(store, "outcome", "done");
    store.settle(seq, rejected);
    store.settle(sent(store, "log", "log"), delivered);
    expect(store.move("retry", seq)).toMatchObject({ kind: "moved" });
    expect(drain(store)).toEqual(["done"]);
  });

  test("of a log is possible behind anything", () => {
    const store = useStore();
    const seq = sent(store, "log", "log");
    store.settle(seq, rejected);
    store.settle(sent(store, "outcome", "done"), delivered);
    expect(store.move("retry", seq)).toMatchObject({ kind: "moved" });
    expect(drain(store)).toEqual(["log"]);
  });

  test("puts it before what was accepted later and waits", () => {
    const store = useStore();
    const seq = sent(store, "output", "1");
    store.accept(newReport("output", "a", "2"));
    store.accept(newReport("outcome", "a", "done"));
    store.settle(seq, rejected);
    store.move("retry", seq);
    expect(drain(store)).toEqual(["1", "2", "done"]);
  });

  test("lets the attempt that is under way end first", () => {
    const store = useStore();
    const log = sent(store, "log", "log");
    store.settle(log, rejected);
    const second = sent(store, "output", "2");
    store.move("retry", log);
    expect(store.claimBodies()).toEqual([]);
    store.settle(second, delivered);
    expect(drain(store)).toEqual(["log"]);
  });

  test("of an outcome is refused when the task has another one", () => {
    const store = useStore();
    const seq = sent(store, "outcome", "done");
    store.settle(seq, rejectedAndOpen);
    store.accept(newReport("outcome", "a", "failed"));
    expect(store.move("retry", seq)).toEqual({ kind: "refused", why: "the task has another outcome" });
  });

  test("of an outcome ends the task again", () => {
    const store = useStore();
    const seq = sent(store, "outcome", "done");
    store.settle(seq, rejectedAndOpen);
    store.move("retry", seq);
    expect(store.tryAccept(newReport("status", "a", "x"))).toMatchObject({
      refusal: { reason: "taskFinished" },
    });
    expect(store.run({ type: "task", upstream: "orchestra", key: "a/0" })).toEqual({
      caller: "alice",
      outcomeBy: "worker",
      sessionId: "",
    });
  });

  test("of an outcome lets no status leave after it that was accepted since", () => {
    const store = useStore();
    const seq = sent(store, "outcome", "done");
    store.settle(seq, rejectedAndOpen);
    store.accept(newReport("status", "a", "status"));
    store.move("retry", seq);
    const left = drain(store);
    expect(left.slice(left.includes("done") ? left.indexOf("done") + 1 : left.length)).toEqual([]);
  });

  test("finds no delivery that there is not", () => {
    const store = useStore();
    expect(store.move("retry", 9)).toEqual({ kind: "unknown" });
    expect(store.move("discard", 9)).toEqual({ kind: "unknown" });
  });

  test("counts its own failures anew", () => {
    const store = useStore();
    const seq = sent(store, "output", "1");
    store.settle(seq, again(startMs, { isOwnFailure: true }));
    store.claim();
    store.settle(seq, rejected);
    store.move("retry", seq);
    expect(store.claim().claimed).toMatchObject([{ ownFailures: 0, ownFailureMs: null }]);
  });
});

describe("discarding by hand", () => {
  test("drops one that waits, and the next one is due", () => {
    const store = useStore();
    const { seq } = store.accept(newReport("output", "a", "1"));
    store.accept(newReport("output", "a", "2"));
    expect(store.move("discard", seq)).toMatchObject({
      kind: "moved",
      row: { state: DeliveryState.DISCARDED },
    });
    expect(drain(store)).toEqual(["2"]);
    expect(store.run({ type: "backlog" })).toMatchObject([{ rows: 0, bytes: 0 }]);
  });

  test("drops one in the middle", () => {
    const store = useStore();
    const seqs = ["1", "2", "3"].map((body) => store.accept(newReport("output", "a", body)).seq);
    store.move("discard", Number(seqs[1]));
    expect(drain(store)).toEqual(["1", "3"]);
  });

  test("is refused while an attempt is under way, and once it was delivered", () => {
    const store = useStore();
    const seq = sent(store, "output", "1");
    expect(store.move("discard", seq)).toEqual({ kind: "refused", why: "an attempt of it is under way" });
    store.settle(seq, delivered);
    expect(store.move("discard", seq)).toEqual({ kind: "refused", why: "it is DELIVERED" });
  });

  test("of an outcome in doubt is refused until that attempt is surely over, and then shows the doubt", () => {
    const { store, seq, move } = useDoubt();
    expect(move("discard", 1000)).toEqual({
      kind: "refused",
      why: "its last attempt may still be under way, for 4 s at most",
    });
    expect(store.tryAccept(newReport("outcome", "a", "failed", callbackLane))).toMatchObject({
      refusal: { reason: "conflictingOutcome" },
    });
    const first = move("discard", floorMs);
    expect(first).toMatchObject({ row: { state: DeliveryState.DISCARDED, isInDoubt: true } });
    expect(move("discard", floorMs)).toEqual(first);
    expect(store.get(seq)).toMatchObject({ state: DeliveryState.DISCARDED, isInDoubt: true });
    store.accept(newReport("outcome", "a", "failed", callbackLane));
  });

  test.for([
    ["unconfirmed", unconfirmed, true],
    ["refused after a doubt", rejected, false],
  ] as const)("of what was %s says whether it may have been taken", ([, settlement, isInDoubt]) => {
    const { store, seq, move } = useDoubt();
    store.claim({ lane: "orchestrator", nowMs: startMs + 60_000 });
    store.settle(seq, settlement);
    expect(move("discard", 60_000)).toMatchObject({ kind: "moved", row: { isInDoubt } });
  });

  test("a second time answers as the first time", () => {
    const store = useStore();
    const { seq } = store.accept(newReport("output", "a", "1"));
    const first = store.move("discard", seq);
    expect(store.move("discard", seq)).toEqual(first);
    expect(store.run({ type: "backlog" })).toMatchObject([{ rows: 0, bytes: 0 }]);
  });

  test("opens the task of an outcome again, and logs behind it still leave", () => {
    const store = useStore();
    const { seq } = store.accept(newReport("outcome", "a", "done"));
    store.accept(newReport("log", "a", "log"));
    store.move("discard", seq);
    store.accept(newReport("status", "a", "status"));
    store.accept(newReport("outcome", "a", "failed"));
    expect(drain(store)).toEqual(["log", "status", "failed"]);
  });

  test("forgets the payload of what was refused", () => {
    const store = useStore();
    const seq = sent(store, "output", "1");
    store.settle(seq, rejected);
    store.move("discard", seq);
    expect(store.db.prepare("SELECT body, target FROM delivery").all()).toEqual([{ body: "", target: "" }]);
    expect(store.run({ type: "backlog" })).toMatchObject([{ rows: 0, bytes: 0 }]);
  });
});
