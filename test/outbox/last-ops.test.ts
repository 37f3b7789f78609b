import { describe, expect, test } from "vitest";
import { again, delivered, newReport, type StoreUnderTest, startMs, useStore } from "./use-store.ts";

const aMinute = startMs + 60_000;

/** A report whose attempt has failed, and which is due again in a minute. */
function failOnce(store: StoreUnderTest, report: ReturnType<typeof newReport>, isInDoubt = false): number {
  const { seq } = store.accept(report, { mayLeave: true });
  store.settle(seq, again(aMinute, { isInDoubt }));
  return seq;
}

describe("hastening", () => {
  const op = {
    type: "hasten",
    upstream: "orchestra",
    lane: "orchestra",
    nowMs: startMs,
    limit: 100,
  } as const;

  test("makes due now what waits for its next attempt", () => {
    const store = useStore();
    failOnce(store, newReport("status", "a", "1"));
    failOnce(store, newReport("outcome", "b", "2"));
    expect(store.claimBodies()).toEqual([]);
    store.run(op);
    expect(store.claimBodies()).toEqual(["2", "1"]);
  });

  test.for([
    ["orchestra", 250],
    ["orchestrator", 5000],
  ] as const)("leaves an attempt in doubt the time that it may still run: %s %i ms", ([upstream, ms]) => {
    const store = useStore();
    const report = newReport("outcome", "a", "1", { upstream, lane: upstream });
    failOnce(store, report, true);
    store.run({ ...op, upstream, lane: upstream });
    expect(store.claimBodies({ lane: upstream, nowMs: startMs + ms - 1 })).toEqual([]);
    expect(store.claimBodies({ lane: upstream, nowMs: startMs + ms })).toEqual(["1"]);
  });

  test("takes outcomes first, and no more than it is asked for", () => {
    const store = useStore();
    failOnce(store, newReport("status", "a", "1"));
    failOnce(store, newReport("outcome", "b", "2"));
    store.run({ ...op, limit: 1 });
    expect(store.claimBodies()).toEqual(["2"]);
  });

  test("leaves another lane alone, and one that is not there", () => {
    const store = useStore();
    failOnce(store, newReport("status", "a", "1"));
    store.run({ ...op, lane: "elsewhere" });
    expect(store.claimBodies()).toEqual([]);
  });

  test("makes nothing later than it was: the clock was set back", () => {
    const store = useStore();
    failOnce(store, newReport("outcome", "a", "1"), true);
    store.run({ ...op, nowMs: startMs - 86_400_000 });
    expect(store.claimBodies({ nowMs: aMinute })).toEqual(["1"]);
  });
});

describe("what is not delivered", () => {
  test("is nothing when nothing waits", () => {
    const store = useStore();
    const { seq } = store.accept(newReport("outcome", "a", "1"), { mayLeave: true });
    store.settle(seq, delivered);
    expect(store.run({ type: "undelivered" })).toEqual([]);
  });

  test("is counted by upstream, with the tasks whose outcome is among it", () => {
    const store = useStore();
    const elsewhere = { upstream: "aidbox", lane: "aidbox" };
    store.accept(newReport("status", "a", "1"));
    store.accept(newReport("outcome", "a", "2"));
    store.accept(newReport("status", "b", "3"));
    store.accept(newReport("outcome", "c", "4", elsewhere), { mayLeave: true });
    expect(store.run({ type: "undelivered" })).toEqual([
      { upstream: "orchestra", reports: 3, outcomes: 1 },
      { upstream: "aidbox", reports: 1, outcomes: 1 },
    ]);
  });
});
