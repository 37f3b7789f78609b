import { describe, expect, test } from "vitest";
import { DeliveryState } from "../../gen/taskgate/v1/receipt_pb.ts";
import {
  again,
  delivered,
  newReport,
  rejected,
  someFailure,
  startMs,
  unconfirmed,
  useStore,
} from "./use-store.ts";

describe("claiming", () => {
  test("takes one delivery of each task, the first that was accepted", () => {
    const store = useStore();
    for (const [key, body] of ["a1", "b1", "a2", "b2"].map((body) => [body.slice(0, 1), body] as const)) {
      store.accept(newReport("status", key, body));
    }
    expect(store.claimBodies().sort()).toEqual(["a1", "b1"]);
    expect(store.claimBodies()).toEqual([]);
  });

  test("takes tasks with an outcome first, each in its own order, then what is due longest", () => {
    const store = useStore();
    store.accept(newReport("status", "late", "late"), { nowMs: startMs - 1 });
    store.accept(newReport("status", "early", "early"), { nowMs: startMs - 2 });
    store.accept(newReport("status", "ending", "before the outcome"), { nowMs: startMs });
    store.accept(newReport("outcome", "ending", "outcome"), { nowMs: startMs });
    expect(store.claimBodies({ limit: 2 })).toEqual(["before the outcome", "early"]);
    expect(store.claimBodies({ limit: 2 })).toEqual(["late"]);
  });

  test.for([1, 3, 8, 20])(
    "takes tasks without an outcome as well while others never end, %i at a time",
    (limit) => {
      const store = useStore();
      const rounds = Math.ceil(160 / limit);
      for (let task = 0; task < 10; task += 1) {
        store.accept(newReport("status", `s${task}`, "status"), { nowMs: startMs - 1 });
      }
      const sent: string[] = [];
      for (let round = 0; round < rounds; round += 1) {
        for (let task = 0; task < limit; task += 1) {
          store.accept(newReport("outcome", `o${round}-${task}`, "outcome"), { nowMs: startMs - 1 });
        }
        const bodies = store.claimBodies({ limit });
        expect(bodies).toHaveLength(limit);
        sent.push(...bodies);
      }
      expect(sent.filter((body) => body === "status")).toHaveLength(10);
      // And no more than their share.
      expect(sent.slice(0, 40).filter((body) => body === "status").length).toBeLessThanOrEqual(5);
    },
  );

  test("at the end takes every outcome first", () => {
    const store = useStore();
    for (let task = 0; task < 10; task += 1) {
      store.accept(newReport("status", `s${task}`, "status"), { nowMs: startMs - 1 });
      store.accept(newReport("outcome", `o${task}`, "outcome"));
    }
    const bodies = [8, 8, 8].flatMap((limit) => store.claimBodies({ limit, supersede: true }));
    expect(bodies).toEqual([...Array(10).fill("outcome"), ...Array(10).fill("status")]);
  });

  test("takes no more than it is asked for", () => {
    const store = useStore();
    for (let task = 0; task < 10; task += 1) {
      store.accept(newReport(task % 2 === 0 ? "outcome" : "status", `t${task}`, "x"));
    }
    expect([3, 3, 3, 3].map((limit) => store.claim({ limit }).claimed.length)).toEqual([3, 3, 3, 1]);
  });

  test("leaves what is not due yet, and says when it is", () => {
    const store = useStore();
    store.accept(newReport("status", "a", "1"));
    const seq = Number(store.claim().claimed[0]?.row.seq);
    store.settle(seq, again(startMs + 5000));
    expect(store.claim({ nowMs: startMs + 4999 })).toMatchObject({
      claimed: [],
      nextDueMs: startMs + 5000,
    });
    expect(store.claimBodies({ nowMs: startMs + 5000 })).toEqual(["1"]);
    expect(store.claim().nextDueMs).toBeNull();
  });

  test("takes what seems to be due later than anything can be: the clock was set back", () => {
    const store = useStore();
    store.accept(newReport("status", "a", "1"));
    store.settle(Number(store.claim().claimed[0]?.row.seq), again(startMs + 300_000));
    expect(store.claimBodies({ nowMs: startMs })).toEqual([]);
    const tenYearsMs = 10 * 365 * 86_400_000;
    expect(store.claimBodies({ nowMs: startMs - tenYearsMs })).toEqual(["1"]);
  });

  test("takes what is due before what seems to be due too late", () => {
    const store = useStore();
    store.accept(newReport("status", "misdated", "misdated"), { nowMs: startMs + 1e9 });
    store.accept(newReport("status", "due", "due"));
    expect(store.claimBodies({ limit: 1 })).toEqual(["due"]);
    expect(store.claimBodies({ limit: 1 })).toEqual(["misdated"]);
  });

  test("knows nothing of other lanes", () => {
    const store = useStore();
    store.accept(newReport("status", "a", "a", { lane: "one" }));
    store.accept(newReport("status", "b", "b", { lane: "two" }));
    expect(store.claimBodies({ lane: "one" })).toEqual(["a"]);
    expect(store.claim({ lane: "none" })).toEqual({
      claimed: [],
      superseded: [],
      damaged: [],
      nextDueMs: null,
    });
  });

  test("counts the attempt, and tells what the policy asks about", () => {
    const store = useStore();
    store.accept(newReport("output", "a", "1"));
    store.accept(newReport("outcome", "a", "done"), { nowMs: startMs + 7 });
    const seq = Number(store.claim().claimed[0]?.row.seq);
    store.settle(seq, again(startMs, { isInDoubt: true, isOwnFailure: true }), { nowMs: startMs + 9 });
    store.settle(Number(store.claim().claimed[0]?.row.seq), again(startMs, { isOwnFailure: true }), {
      nowMs: startMs + 11,
    });
    expect(store.claim().claimed).toMatchObject([
      {
        row: { attempts: 3, isInDoubt: true },
        outcomeCreateMs: startMs + 7,
        ownFailures: 2,
        ownFailureMs: startMs + 9,
      },
    ]);
  });

  test("while draining leaves out statuses that a stored outcome overtook, and nothing else", () => {
    const store = useStore();
    for (const kind of ["status", "output", "status", "log", "status", "outcome", "log"] as const) {
      store.accept(newReport(kind, "a", kind));
    }
    store.accept(newReport("status", "b", "of a task without an outcome"));
    const sent: string[] = [];
    for (let round = 0; round < 10; round += 1) {
      for (const { row, body } of store.claim({ supersede: true }).claimed) {
        sent.push(body);
        store.settle(row.seq, delivered);
      }
    }
    expect(sent).toEqual(["output", "of a task without an outcome", "log", "outcome", "log"]);
    expect([1, 3, 5].map((seq) => store.get(seq).state)).toEqual(Array(3).fill(DeliveryState.SUPERSEDED));
    expect(store.run({ type: "backlog" })).toMatchObject([{ rows: 0, bytes: 0 }]);
  });

  test("while draining does not leave out a status that was sent before: it may have been taken", () => {
    const store = useStore();
    const { seq } = store.accept(newReport("status", "a", "status"), { mayLeave: true });
    store.accept(newReport("outcome", "a", "outcome"));
    store.settle(seq, again(startMs, { isInDoubt: true }));
    expect(store.claimBodies({ supersede: true })).toEqual(["status"]);
  });
});

describe("a delivery whose row was changed on the disk", () => {
  test.for([
    "body = 'other'",
    "target = 'https://elsewhere.test/'",
    "create_ms = create_ms + 1",
    "kind = 1",
    "kind = 77",
    "checksum = checksum + 1",
  ])("is never claimed: %s", (change) => {
    const store = useStore();
    store.accept(newReport("status", "a", "1"));
    store.accept(newReport("status", "b", "2"));
    store.db.exec(`UPDATE delivery SET ${change} WHERE seq = 1`);
    const { claimed, damaged } = store.claim();
    expect(claimed.map(({ body }) => body)).not.toContain("other");
    expect(claimed.map(({ row }) => row.seq)).not.toContain(1);
    expect(damaged.map(({ seq }) => seq)).toEqual([1]);
    expect(store.get(1).state).toBe(DeliveryState.REJECTED);
    expect(store.move("retry", 1)).toEqual({ kind: "refused", why: "its checksum does not match" });
  });

  test("is never claimed for another task than its own", () => {
    const store = useStore();
    store.accept(newReport("status", "a", "1"));
    store.accept(newReport("status", "b", "2"));
    store.db.exec("UPDATE delivery SET task = 2 WHERE seq = 1");
    let claimed: string[] = [];
    try {
      claimed = store.claimBodies();
    } catch (error) {
      // So much damage is found that nothing is sent before a rescue.
      expect(String(error)).toMatch(/damaged/);
    }
    expect(claimed).not.toContain("1");
  });

  test("makes room for the next of its task", () => {
    const store = useStore();
    store.accept(newReport("status", "a", "1"));
    store.accept(newReport("status", "a", "2"));
    store.db.exec("UPDATE delivery SET body = 'x' WHERE seq = 1");
    expect(store.claim()).toMatchObject({ claimed: [{ body: "2" }], damaged: [{ seq: 1 }] });
  });

  test("is told of, also when it was to follow the one before it", () => {
    const store = useStore();
    const { seq } = store.accept(newReport("status", "a", "1"), { mayLeave: true });
    store.accept(newReport("status", "a", "2"));
    store.db.exec("UPDATE delivery SET body = 'x' WHERE seq = 2");
    expect(store.settle(seq, delivered, { claimNext: true })).toMatchObject({ damaged: [{ seq: 2 }] });
  });

  test("is found by a comparison of all rows", () => {
    const store = useStore();
    const rows = ["1", "2", "3"].map((body) => store.accept(newReport("status", body, body)));
    store.db.exec("UPDATE delivery SET body = 'x' WHERE seq = 2");
    expect(store.run({ type: "verify", afterSeq: 0, limit: 2 })).toEqual({
      lastSeq: 2,
      damaged: [rows[1]?.id],
    });
    expect(store.run({ type: "verify", afterSeq: 2, limit: 2 })).toEqual({ lastSeq: 3, damaged: [] });
    expect(store.run({ type: "verify", afterSeq: 3, limit: 2 })).toEqual({ lastSeq: null, damaged: [] });
  });
});

describe("settling", () => {
  const atMs = startMs + 50;

  function useSent() {
    const store = useStore();
    const { seq } = store.accept(newReport("output", "a", "payload"), { mayLeave: true });
    const storedBody = () => store.db.prepare("SELECT body, target FROM delivery WHERE seq = ?").get(seq);
    return { store, seq, storedBody };
  }

  test("as delivered keeps the answer and when it was, and forgets the payload", () => {
    const { store, seq, storedBody } = useSent();
    store.settle(seq, { kind: "delivered", answer: '{"x":1}' }, { nowMs: atMs });
    const expected = { state: DeliveryState.DELIVERED, answer: '{"x":1}', deliverMs: atMs, endMs: atMs };
    expect(store.get(seq)).toMatchObject({ ...expected, failure: null, nextAttemptMs: null });
    expect(storedBody()).toEqual({ body: "", target: "" });
  });

  test.for([
    ["rejected", rejected, DeliveryState.REJECTED],
    ["unconfirmed", unconfirmed, DeliveryState.UNCONFIRMED],
  ] as const)("as %s keeps the failure and the payload", ([, settlement, state]) => {
    const { store, seq, storedBody } = useSent();
    store.settle(seq, settlement, { nowMs: atMs });
    const row = store.get(seq);
    expect(row).toMatchObject({ state, endMs: atMs, deliverMs: null });
    expect(row.failure).toEqual(Uint8Array.from(someFailure));
    expect(storedBody()).toMatchObject({ body: "payload" });
  });

  test("as to be tried again keeps it first, and remembers every doubt", () => {
    const { store, seq } = useSent();
    store.accept(newReport("output", "a", "next"));
    store.settle(seq, again(atMs, { isInDoubt: true }));
    expect(store.get(seq)).toMatchObject({
      state: DeliveryState.STORED,
      isInDoubt: true,
      nextAttemptMs: atMs,
    });
    expect(store.claimBodies({ nowMs: atMs })).toEqual(["payload"]);
    store.settle(seq, again(atMs));
    expect(store.get(seq)).toMatchObject({ isInDoubt: true, attempts: 2 });
  });

  test("ends a doubt", () => {
    const { store, seq } = useSent();
    store.settle(seq, again(startMs, { isInDoubt: true }));
    store.claim();
    store.settle(seq, delivered);
    expect(store.get(seq).isInDoubt).toBe(false);
  });

  test("what has ended changes nothing", () => {
    const { store, seq } = useSent();
    store.settle(seq, delivered);
    expect(store.settle(seq, rejected)).toMatchObject({ row: undefined, next: undefined });
    expect(store.settle(777, rejected)).toMatchObject({ row: undefined });
    expect(store.get(seq).state).toBe(DeliveryState.DELIVERED);
    expect(store.run({ type: "backlog" })).toMatchObject([{ rows: 0, bytes: 0 }]);
  });

  test("can begin the next attempt of the task in the same commit", () => {
    const { store, seq } = useSent();
    store.accept(newReport("outcome", "a", "done"));
    const { next, hasNext } = store.settle(seq, delivered, { claimNext: true });
    expect(next).toMatchObject({ body: "done", row: { attempts: 1 }, outcomeCreateMs: startMs });
    expect(hasNext).toBe(false);
    expect(store.claimBodies()).toEqual([]);
  });

  test("says that there is a next one when it was not to begin it", () => {
    const { store, seq } = useSent();
    store.accept(newReport("outcome", "a", "done"));
    expect(store.settle(seq, delivered)).toMatchObject({ next: undefined, hasNext: true });
    expect(store.claimBodies()).toEqual(["done"]);
  });

  test("while draining leaves out the statuses in between", () => {
    const { store, seq } = useSent();
    store.accept(newReport("status", "a", "status"));
    store.accept(newReport("outcome", "a", "done"));
    const settled = store.settle(seq, delivered, { claimNext: true, supersede: true });
    expect(settled).toMatchObject({ next: { body: "done" }, superseded: [{ seq: seq + 1 }] });
  });

  test("a failed attempt never begins the next delivery", () => {
    const { store, seq } = useSent();
    store.accept(newReport("output", "a", "next"));
    expect(store.settle(seq, again(startMs + 9), { claimNext: true })).toMatchObject({ next: undefined });
    expect(store.claimBodies({ nowMs: startMs + 9 })).toEqual(["payload"]);
  });

  test("an outcome makes its task no longer urgent", () => {
    const store = useStore();
    const { seq } = store.accept(newReport("outcome", "a", "done"), { mayLeave: true });
    store.accept(newReport("log", "a", "log"));
    store.accept(newReport("log", "b", "earlier"), { nowMs: startMs - 1 });
    store.settle(seq, delivered);
    expect(store.claimBodies()).toEqual(["earlier", "log"]);
  });
});
