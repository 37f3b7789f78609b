import { describe, expect, test } from "vitest";
import { DeliveryState } from "../../gen/taskgate/v1/receipt_pb.ts";
import type { NewDelivery } from "../../src/model/delivery.ts";
import type { AcceptOp, AcceptResult } from "../../src/outbox/store.ts";
import {
  acceptOf,
  delivered,
  newReport,
  rejected,
  rejectedAndOpen,
  type StoreUnderTest,
  someFailure,
  startMs,
  unconfirmed,
  useStore,
} from "./use-store.ts";

/** What an acceptance came to, in a word. */
function wordOf(result: AcceptResult): string {
  return result.kind === "refused" ? result.refusal.reason : result.kind;
}

describe("a report of a task", () => {
  const status = newReport("status", "a", "RUNNING");
  const output = newReport("output", "a", "output");
  const log = newReport("log", "a", "log");
  const succeeded = newReport("outcome", "a", "SUCCEEDED");
  const failed = newReport("outcome", "a", "FAILED");
  type Before = (store: StoreUnderTest) => void;

  const nothing: Before = () => undefined;
  const anOutcomeWaits: Before = (store) => void store.accept(succeeded);
  const anOutcomeIsSent: Before = (store) => void store.accept(succeeded, { mayLeave: true });
  const gatewaysWaits: Before = (store) => void store.accept(failed, { isByGateway: true });
  const gatewaysIsSent: Before = (store) =>
    void store.accept(failed, { isByGateway: true, mayLeave: true, caller: "" });
  const outcomeEnded =
    (how: Parameters<StoreUnderTest["settle"]>[1]): Before =>
    (store) =>
      void store.settle(store.accept(succeeded, { mayLeave: true }).seq, how);
  const outcomeDiscarded: Before = (store) => void store.move("discard", store.accept(succeeded).seq);

  const cases: [string, Before, NewDelivery, Partial<AcceptOp>, string][] = [
    ["the first status is stored", nothing, status, {}, "stored"],
    ["the first outcome is stored", nothing, succeeded, {}, "stored"],
    ["the first log is stored", nothing, log, {}, "stored"],
    ["a log behind a waiting outcome is stored", anOutcomeWaits, log, {}, "stored"],
    ["a status behind a waiting outcome is refused", anOutcomeWaits, status, {}, "taskFinished"],
    ["an output behind a waiting outcome is refused", anOutcomeWaits, output, {}, "taskFinished"],
    ["the same outcome again is known", anOutcomeWaits, succeeded, {}, "known"],
    ["another outcome is a conflict", anOutcomeWaits, failed, {}, "conflictingOutcome"],
    ["another outcome behind a sent one is a conflict", anOutcomeIsSent, failed, {}, "conflictingOutcome"],
    [
      "the gateway's outcome behind the worker's is a conflict",
      anOutcomeWaits,
      failed,
      { isByGateway: true },
      "conflictingOutcome",
    ],
    ["a delivered outcome again is known", outcomeEnded(delivered), succeeded, {}, "known"],
    [
      "another outcome behind a delivered one is a conflict",
      outcomeEnded(delivered),
      failed,
      {},
      "conflictingOutcome",
    ],
    ["a log behind a delivered outcome is stored", outcomeEnded(delivered), log, {}, "stored"],
    [
      "another outcome behind an unconfirmed one is a conflict",
      outcomeEnded(unconfirmed),
      failed,
      {},
      "conflictingOutcome",
    ],
    [
      "a status behind an unconfirmed outcome is refused",
      outcomeEnded(unconfirmed),
      status,
      {},
      "taskFinished",
    ],
    [
      "another outcome behind one refused for good is a conflict",
      outcomeEnded(rejected),
      failed,
      {},
      "conflictingOutcome",
    ],
    [
      "another outcome behind one refused with the task open is stored",
      outcomeEnded(rejectedAndOpen),
      failed,
      {},
      "stored",
    ],
    [
      "the same outcome behind one refused with the task open is stored",
      outcomeEnded(rejectedAndOpen),
      succeeded,
      {},
      "stored",
    ],
    [
      "a status behind an outcome refused with the task open is stored",
      outcomeEnded(rejectedAndOpen),
      status,
      {},
      "stored",
    ],
    ["another outcome behind a discarded one is stored", outcomeDiscarded, failed, {}, "stored"],
    ["a status behind a discarded outcome is stored", outcomeDiscarded, status, {}, "stored"],
    [
      "the worker's outcome takes the place of the gateway's that waits",
      gatewaysWaits,
      succeeded,
      {},
      "stored",
    ],
    [
      "the worker's outcome takes the place of an equal one of the gateway that waits",
      gatewaysWaits,
      failed,
      {},
      "stored",
    ],
    [
      "the worker's outcome is a conflict with the gateway's that was sent",
      gatewaysIsSent,
      succeeded,
      { caller: "" },
      "conflictingOutcome",
    ],
    [
      "the worker's outcome that equals the gateway's that was sent is known",
      gatewaysIsSent,
      failed,
      { caller: "" },
      "known",
    ],
    ["another caller's report finds no task", anOutcomeWaits, log, { caller: "mallory" }, "taskUnknown"],
    [
      "another caller's equal outcome finds no task",
      anOutcomeWaits,
      succeeded,
      { caller: "mallory" },
      "taskUnknown",
    ],
    [
      "the gateway may report for anybody's task",
      (store) => void store.accept(status),
      failed,
      { isByGateway: true, caller: "gateway" },
      "stored",
    ],
  ];
  test.for(cases)("%s", ([, before, delivery, change, expected]) => {
    const store = useStore();
    before(store);
    expect(wordOf(store.tryAccept(delivery, change))).toBe(expected);
  });

  test("answers the same outcome again with the first delivery", () => {
    const store = useStore();
    const first = store.accept(succeeded);
    expect(store.tryAccept(succeeded)).toMatchObject({ kind: "known", row: { id: first.id } });
    store.claim();
    store.settle(first.seq, delivered);
    expect(store.tryAccept(succeeded)).toMatchObject({
      kind: "known",
      row: { id: first.id, state: DeliveryState.DELIVERED },
    });
  });

  test("names the outcome that stands in a conflict", () => {
    const store = useStore();
    const { id } = store.accept(succeeded);
    expect(store.tryAccept(failed)).toEqual({
      kind: "refused",
      refusal: { reason: "conflictingOutcome", isByGateway: false, deliveryId: id },
    });
  });

  test("keeps the worker's outcome that came too late, visible and never sent", () => {
    const store = useStore();
    const first = store.accept(failed, { isByGateway: true, mayLeave: true });
    expect(store.tryAccept(succeeded)).toMatchObject({
      refusal: { isByGateway: true, deliveryId: first.id },
    });
    const refused = acceptOf(succeeded);
    const kept = store.run({ type: "keepRefused", refused, failure: someFailure });
    expect(kept).toMatchObject({ state: DeliveryState.REJECTED, attempts: 0 });
    store.settle(first.seq, delivered);
    expect(store.claimBodies()).toEqual([]);
    expect(store.run({ type: "backlog" })).toMatchObject([{ rows: 0, bytes: 0 }]);
    expect(store.move("retry", Number(kept?.seq))).toMatchObject({ kind: "refused" });
  });

  test("supersedes the gateway's outcome that waits, and sends the worker's", () => {
    const store = useStore();
    store.accept(status);
    const lost = store.accept(failed, { isByGateway: true });
    store.accept(succeeded);
    expect(store.get(lost.seq).state).toBe(DeliveryState.SUPERSEDED);
    const first = store.claim().claimed[0];
    expect(first?.body).toBe("RUNNING");
    expect(store.settle(Number(first?.row.seq), delivered, { claimNext: true }).next?.body).toBe("SUCCEEDED");
    expect(store.run({ type: "backlog" })).toMatchObject([{ rows: 1 }]);
  });

  test("sends a log that waited behind the gateway's superseded outcome, and the worker's outcome", () => {
    const store = useStore();
    store.accept(failed, { isByGateway: true });
    store.accept(log);
    store.accept(succeeded);
    const first = store.claim().claimed[0];
    expect(first?.body).toBe("log");
    expect(store.settle(Number(first?.row.seq), delivered, { claimNext: true }).next?.body).toBe("SUCCEEDED");
  });

  test("does not supersede the gateway's outcome for one that there is no room for", () => {
    const store = useStore({ maxRows: 10, maxBytes: 10, outcomeReserve: 0 });
    const lost = store.accept(failed, { isByGateway: true });
    const large = newReport("outcome", "a", "more than ten bytes");
    expect(wordOf(store.tryAccept(large))).toBe("full");
    expect(store.get(lost.seq).state).toBe(DeliveryState.STORED);
    expect(store.claimBodies()).toEqual(["FAILED"]);
  });

  test("an outcome whose stored form is damaged, and which was never sent, makes room for another", () => {
    const store = useStore();
    const { seq } = store.accept(succeeded);
    store.db.exec("UPDATE delivery SET body = 'damaged'");
    store.claim();
    expect(store.get(seq).state).toBe(DeliveryState.REJECTED);
    expect(wordOf(store.tryAccept(succeeded))).toBe("stored");
  });

  test("says in which lane its task is, also when another one was named since", () => {
    const store = useStore();
    const first = store.accept({ ...succeeded, lane: "one" }, { mayLeave: true });
    store.settle(first.seq, rejectedAndOpen);
    expect(store.tryAccept({ ...failed, lane: "other" })).toMatchObject({ kind: "stored", lane: "one" });
    expect(store.claimBodies({ lane: "one" })).toEqual(["FAILED"]);
  });
});

describe("the first attempt", () => {
  test("is recorded as begun by the commit that stores a report that may leave", () => {
    const store = useStore();
    const result = store.tryAccept(newReport("status", "a", "1"), { mayLeave: true });
    expect(result).toMatchObject({
      kind: "stored",
      isFirst: true,
      row: { attempts: 1, isInDoubt: false, nextAttemptMs: null },
      claimed: { body: "1", target: "https://webhook.test/", outcomeCreateMs: null, ownFailures: 0 },
    });
    expect(store.claimBodies()).toEqual([]);
  });

  test("is not recorded while something of the task goes before it", () => {
    const store = useStore();
    store.accept(newReport("status", "a", "1"));
    const result = store.tryAccept(newReport("status", "a", "2"), { mayLeave: true });
    expect(result).toMatchObject({
      kind: "stored",
      isFirst: false,
      row: { attempts: 0 },
      claimed: undefined,
    });
  });

  test("is due at once for a report that may not leave yet", () => {
    const store = useStore();
    expect(store.accept(newReport("status", "a", "1")).nextAttemptMs).toBe(startMs);
    expect(store.get(1)).toMatchObject({ attempts: 0, nextAttemptMs: startMs, state: DeliveryState.STORED });
  });
});

describe("a request id", () => {
  const status = newReport("status", "a", "1");
  const withId = { requestId: "r", contentHash: "h" };

  test("is answered with what it made, however often it comes", () => {
    const store = useStore();
    const first = store.accept(status, withId);
    expect(store.tryAccept(status, withId)).toMatchObject({ kind: "known", row: { id: first.id } });
    store.claim();
    store.settle(first.seq, delivered);
    expect(store.tryAccept(status, withId)).toMatchObject({
      kind: "known",
      row: { id: first.id, state: DeliveryState.DELIVERED },
    });
  });

  test("is answered although the task has ended since", () => {
    const store = useStore();
    const first = store.accept(status, withId);
    store.accept(newReport("outcome", "a", "SUCCEEDED"));
    expect(store.tryAccept(status, withId)).toMatchObject({ kind: "known", row: { id: first.id } });
  });

  test.for([
    ["with other content is refused", { contentHash: "other" }, "requestIdReused"],
    ["of another caller is another one", { caller: "bob" }, "stored"],
    ["of another RPC is another one", { operation: "SendLog" }, "stored"],
  ] as const)("%s", ([, change, expected]) => {
    const store = useStore();
    store.accept(newReport("status", "other-task", "1"), withId);
    expect(wordOf(store.tryAccept(status, { ...withId, ...change }))).toBe(expected);
  });

  test("that was refused leaves nothing behind", () => {
    const store = useStore();
    store.accept(newReport("outcome", "a", "SUCCEEDED"));
    expect(wordOf(store.tryAccept(status, withId))).toBe("taskFinished");
    expect(wordOf(store.tryAccept(newReport("status", "b", "1"), withId))).toBe("stored");
  });

  test("that is empty recognises nothing", () => {
    const store = useStore();
    expect(store.accept(status).id).not.toBe(store.accept(status).id);
  });
});
