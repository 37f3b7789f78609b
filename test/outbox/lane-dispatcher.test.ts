import { describe, expect, onTestFinished, test } from "vitest";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import { DeliveryState } from "../../gen/taskgate/v1/receipt_pb.ts";
import type { AttemptFailure, AttemptResult } from "../../src/model/attempt-result.ts";
import type { SentDelivery } from "../../src/model/delivery.ts";
import { createFailure } from "../../src/model/failure.ts";
import { createKeyOrder } from "../../src/outbox/key-order.ts";
import { createLaneDispatcher } from "../../src/outbox/lane-dispatcher.ts";
import { type RetryPolicy, retryPolicies } from "../../src/outbox/retry-policy.ts";
import type { DeliveryRow, ResultOf, Store, StoreOp } from "../../src/outbox/store.ts";
import { settle, useFakeClock } from "./fake-clock.ts";
import { acceptOf, newReport, startMs, useStore } from "./use-store.ts";

const accepted: AttemptResult = { kind: "accepted", answer: "" };
function failed(kind: AttemptFailure["kind"], retryAfterMs?: number): AttemptResult {
  const options = retryAfterMs === undefined ? {} : { retryAfterMs };
  return { kind, failure: createFailure(ErrorReason.UPSTREAM_UNAVAILABLE, "no", options) };
}

interface UnderWay {
  body: string;
  sent: SentDelivery;
  signal: AbortSignal | undefined;
  end: (result: AttemptResult) => Promise<void>;
  fail: (error: Error) => Promise<void>;
}

/** A dispatcher on a store in memory, an upstream that answers when it is told to, and a clock that stands still. */
function useDispatcher({ concurrency = 2 } = {}) {
  const rows = useStore();
  const clock = useFakeClock();
  const underWay = new Map<string, UnderWay>();
  const log: string[] = [];
  const changes: DeliveryRow[] = [];
  const damaged: DeliveryRow[] = [];
  const errors: unknown[] = [];
  const state = { storeError: undefined as Error | undefined };
  const store: Store = {
    salt: 1234,
    run: <Op extends StoreOp>(op: Op): Promise<ResultOf<Op>> =>
      state.storeError === undefined ? Promise.resolve(rows.run(op)) : Promise.reject(state.storeError),
    close: () => Promise.resolve(),
  };
  const dispatcher = createLaneDispatcher({
    store,
    lane: "orchestra",
    upstreamName: "orchestra",
    upstream: {
      send(sent, signal) {
        log.push(sent.body);
        const { promise, resolve, reject } = Promise.withResolvers<AttemptResult>();
        underWay.set(sent.body, {
          body: sent.body,
          sent,
          signal,
          end: (result) => {
            underWay.delete(sent.body);
            resolve(result);
            return settle();
          },
          fail: (error) => {
            underWay.delete(sent.body);
            reject(error);
            return settle();
          },
        });
        return promise;
      },
    },
    policy: retryPolicies.orchestra as RetryPolicy,
    concurrency,
    order: createKeyOrder(),
    clock,
    random: () => 0,
    onChange: (row) => changes.push(row),
    onDamage: (row) => damaged.push(row),
    onUnauthorized: () => undefined,
    onUnexpectedError: (error) => errors.push(error),
  });

  return {
    rows,
    clock,
    dispatcher,
    underWay,
    log,
    changes,
    damaged,
    errors,
    state,
    async wake() {
      dispatcher.wake();
      await settle();
    },
    /** Ends an attempt. */
    async end(body: string, result: AttemptResult = accepted) {
      const attempt = underWay.get(body);
      if (attempt === undefined) {
        throw new Error(`${body} is not under way, but ${[...underWay.keys()]}`);
      }
      await attempt.end(result);
    },
    /** As the outbox does: a report that leaves at once where there is a place. */
    async submit(kind: Parameters<typeof newReport>[0], task: string, body: string) {
      const mayLeave = dispatcher.tryReserve();
      const nowMs = clock.now();
      const result = rows.run(acceptOf(newReport(kind, task, body), { mayLeave, nowMs }));
      if (result.kind === "stored" && result.claimed !== undefined) {
        dispatcher.send(result.claimed);
      } else {
        if (mayLeave) {
          dispatcher.release();
        }
        if (result.kind === "stored" && result.isFirst) {
          dispatcher.wake();
        }
      }
      await settle();
      return result;
    },
  };
}

describe("a lane", () => {
  test("has no more attempts under way than it may, and goes on when one has ended", async () => {
    const lane = useDispatcher();
    for (const task of ["a", "b", "c"]) {
      lane.rows.accept(newReport("status", task, task));
    }
    await lane.wake();
    expect([...lane.underWay.keys()]).toEqual(["a", "b"]);
    await lane.end("a");
    expect([...lane.underWay.keys()]).toEqual(["b", "c"]);
  });

  test("sends a task's deliveries one after the other", async () => {
    const lane = useDispatcher();
    for (const body of ["1", "2", "3"]) {
      await lane.submit("output", "a", body);
    }
    expect(lane.log).toEqual(["1"]);
    await lane.end("1");
    await lane.end("2");
    await lane.end("3");
    expect(lane.log).toEqual(["1", "2", "3"]);
    expect(lane.rows.run({ type: "backlog" })).toMatchObject([{ rows: 0 }]);
  });

  test("tries again when its delay is over, and the next delivery waits", async () => {
    const lane = useDispatcher();
    await lane.submit("output", "a", "1");
    await lane.submit("output", "a", "2");
    await lane.end("1", failed("unavailable"));
    expect(lane.rows.get(1)).toMatchObject({ attempts: 1, nextAttemptMs: startMs + 100 });
    await lane.clock.advance(99);
    expect(lane.log).toEqual(["1"]);
    await lane.clock.advance(1);
    expect(lane.log).toEqual(["1", "1"]);
    await lane.end("1");
    expect(lane.log).toEqual(["1", "1", "2"]);
  });

  test("tells the upstream of a doubt", async () => {
    const lane = useDispatcher();
    await lane.submit("output", "a", "1");
    expect(lane.underWay.get("1")?.sent.isInDoubt).toBe(false);
    await lane.end("1", failed("inDoubt"));
    await lane.clock.advance(1000);
    expect(lane.underWay.get("1")?.sent.isInDoubt).toBe(true);
  });

  test("goes on with what was due before it began", async () => {
    const lane = useDispatcher();
    lane.rows.accept(newReport("output", "a", "1"), { mayLeave: true });
    lane.rows.reopen();
    await lane.wake();
    await lane.clock.advance(5000);
    expect(lane.underWay.get("1")?.sent.isInDoubt).toBe(true);
  });

  test("tells each failure, and each end twice: when it happens, and when it is on the disk", async () => {
    const lane = useDispatcher();
    await lane.submit("output", "a", "1");
    await lane.end("1", failed("unavailable"));
    await lane.clock.advance(100);
    await lane.end("1");
    expect(lane.changes.map(({ state, attempts }) => [state, attempts])).toEqual([
      [DeliveryState.STORED, 1],
      [DeliveryState.DELIVERED, 2],
      [DeliveryState.DELIVERED, 2],
    ]);
  });

  test("takes an upstream that throws for one that did not answer", async () => {
    const lane = useDispatcher();
    await lane.submit("output", "a", "1");
    await lane.underWay.get("1")?.fail(new Error("a bug"));
    expect(lane.errors).toHaveLength(1);
    expect(lane.rows.get(1)).toMatchObject({ isInDoubt: true, state: DeliveryState.STORED });
  });

  test("tells of a damaged delivery, and sends the next", async () => {
    const lane = useDispatcher();
    lane.rows.accept(newReport("output", "a", "1"));
    lane.rows.accept(newReport("output", "a", "2"));
    lane.rows.db.exec("UPDATE delivery SET body = 'x' WHERE seq = 1");
    await lane.wake();
    expect(lane.log).toEqual(["2"]);
    expect(lane.damaged.map(({ seq }) => seq)).toEqual([1]);
    expect(lane.changes.map(({ seq, state }) => [seq, state])).toEqual([[1, DeliveryState.REJECTED]]);
  });

  test("tells of a damaged delivery behind one that was taken, too", async () => {
    const lane = useDispatcher();
    await lane.submit("output", "a", "1");
    await lane.submit("output", "a", "2");
    await lane.submit("output", "a", "3");
    lane.rows.db.exec("UPDATE delivery SET body = 'x' WHERE seq = 2");
    await lane.end("1");
    expect(lane.log).toEqual(["1", "3"]);
    expect(lane.damaged.map(({ seq }) => seq)).toEqual([2]);
  });

  test("while draining leaves out statuses that their task's outcome overtook", async () => {
    const lane = useDispatcher();
    await lane.submit("status", "a", "1");
    await lane.submit("status", "a", "2");
    await lane.submit("outcome", "a", "3");
    lane.dispatcher.hurry(startMs + 25_000);
    await lane.end("1");
    expect(lane.log).toEqual(["1", "3"]);
    expect(lane.changes.map(({ seq, state }) => [seq, state])).toContainEqual([2, DeliveryState.SUPERSEDED]);
  });
});

describe("an upstream's answer", () => {
  test.for([
    [16 * 1024, 16 * 1024],
    [16 * 1024 + 1, 0],
  ] as const)(
    "of %i bytes is told whole to those who wait, and %i bytes of it are kept",
    async ([size, kept]) => {
      const lane = useDispatcher();
      await lane.submit("outcome", "a", "1");
      await lane.end("1", { kind: "accepted", answer: "x".repeat(size) });
      expect(lane.changes.map(({ answer }) => answer.length)).toEqual([size, kept]);
      expect(lane.rows.get(1).answer.length).toBe(kept);
    },
  );
});

describe("a lane that was full", () => {
  test("misses nothing when a place that was not needed is given back", async () => {
    const lane = useDispatcher({ concurrency: 1 });
    lane.rows.accept(newReport("output", "a", "1"));
    expect([1, 2, 3].map(lane.dispatcher.tryReserve)).toEqual([true, true, false]);
    await lane.wake();
    expect(lane.log).toEqual([]);
    lane.dispatcher.release();
    await settle();
    expect(lane.log).toEqual(["1"]);
  });

  test("has as many attempts again recorded as begun, and sends them when it may", async () => {
    const lane = useDispatcher({ concurrency: 1 });
    for (const task of ["1", "2", "3"]) {
      await lane.submit("output", task, task);
    }
    expect(lane.log).toEqual(["1"]);
    expect([1, 2, 3].map((seq) => lane.rows.get(seq).attempts)).toEqual([1, 1, 0]);
    await lane.end("1");
    expect(lane.log).toEqual(["1", "2"]);
    expect(lane.rows.get(3).attempts).toBe(1);
  });

  test("does not send what was recorded as begun when the upstream asks for time meanwhile", async () => {
    const lane = useDispatcher({ concurrency: 1 });
    await lane.submit("output", "a", "1");
    await lane.submit("output", "b", "2");
    await lane.end("1", failed("unavailable", 20_000));
    expect(lane.log).toEqual(["1"]);
    expect(lane.rows.get(2)).toMatchObject({ state: DeliveryState.STORED, isInDoubt: false });
    await lane.clock.advance(20_000);
    expect(lane.log).toHaveLength(2);
  });

  test("misses nothing when the only attempt under way fails", async () => {
    const lane = useDispatcher({ concurrency: 1 });
    await lane.submit("output", "a", "1");
    await lane.submit("output", "b", "2");
    await lane.end("1", failed("unavailable"));
    expect(lane.log).toEqual(["1", "2"]);
    await lane.end("2");
    await lane.clock.advance(100);
    expect(lane.log).toEqual(["1", "2", "1"]);
  });

  test("tries again what failed while nothing else waits", async () => {
    const lane = useDispatcher({ concurrency: 1 });
    for (let attempt = 1; attempt <= 4; attempt += 1) {
      if (attempt === 1) {
        await lane.submit("output", "a", "1");
      }
      await lane.end("1", failed("unavailable"));
      await lane.clock.advance(10_000);
      expect(lane.log).toHaveLength(attempt + 1);
    }
  });
});

describe("an upstream in trouble", () => {
  async function useTrouble() {
    const lane = useDispatcher({ concurrency: 5 });
    for (const task of ["a", "b", "c", "d", "e"]) {
      await lane.submit("output", task, task);
    }
    for (const task of ["a", "b", "c", "d", "e"]) {
      await lane.end(task, failed("unavailable"));
    }
    lane.log.length = 0;
    return lane;
  }

  test("gets one attempt after a while, and all once it has taken one", async () => {
    const lane = await useTrouble();
    await lane.clock.advance(499);
    expect(lane.log).toEqual([]);
    await lane.clock.advance(1);
    expect(lane.log).toHaveLength(1);
    await lane.clock.advance(5000);
    expect(lane.log).toHaveLength(1);
    await lane.end(lane.log[0] ?? "");
    expect(lane.log).toHaveLength(5);
  });

  test("gets nothing at once: new reports wait for their turn", async () => {
    const lane = await useTrouble();
    expect(lane.dispatcher.tryReserve()).toBe(false);
    await lane.submit("output", "f", "f");
    expect(lane.log).toEqual([]);
  });

  test("that asks to wait is left alone so long, but no longer than is reasonable", async () => {
    const lane = useDispatcher();
    await lane.submit("output", "a", "1");
    await lane.end("1", failed("unavailable", 86_400_000));
    await lane.clock.advance(299_999);
    expect(lane.log).toEqual(["1"]);
    await lane.clock.advance(1001);
    expect(lane.log).toEqual(["1", "1"]);
  });
});

describe("a clock", () => {
  test.for([
    ["set ten years back", -10 * 365 * 86_400_000],
    ["set a year ahead", 365 * 86_400_000],
  ] as const)("%s stops nothing", async ([, jumpMs]) => {
    const lane = useDispatcher({ concurrency: 1 });
    await lane.submit("output", "a", "1");
    await lane.end("1", failed("unavailable"));
    lane.clock.jump(jumpMs);
    await lane.submit("output", "b", "2");
    for (let round = 0; round < 5; round += 1) {
      for (const { end } of [...lane.underWay.values()]) {
        await end(accepted);
      }
      await lane.clock.advance(60_000);
    }
    expect(lane.rows.run({ type: "backlog" })).toMatchObject([{ rows: 0 }]);
  });
});

describe("a store that does not take what must be written", () => {
  test("is asked again, and nothing is sent twice meanwhile", async () => {
    const lane = useDispatcher();
    await lane.submit("output", "a", "1");
    lane.state.storeError = new Error("the disk is full");
    await lane.end("1");
    await lane.wake();
    await lane.clock.advance(2500);
    expect(lane.errors.length).toBeGreaterThanOrEqual(3);
    lane.state.storeError = undefined;
    await lane.clock.advance(1000);
    expect(lane.rows.get(1).state).toBe(DeliveryState.DELIVERED);
    expect(lane.log).toEqual(["1"]);
  });

  test("does not keep claiming without a pause", async () => {
    const lane = useDispatcher();
    lane.state.storeError = new Error("the disk is full");
    for (let wake = 0; wake < 3; wake += 1) {
      lane.dispatcher.wake();
    }
    await settle();
    await lane.clock.advance(10_000);
    expect(lane.errors.length).toBeLessThan(20);
  });
});

describe("stopping", () => {
  test("waits for what is under way, and begins nothing", async () => {
    const lane = useDispatcher();
    await lane.submit("output", "a", "1");
    await lane.submit("output", "a", "2");
    let hasStopped = false;
    void lane.dispatcher.stop().then(() => {
      hasStopped = true;
    });
    await settle();
    expect([hasStopped, lane.dispatcher.tryReserve()]).toEqual([false, false]);
    await lane.end("1");
    expect([hasStopped, lane.log]).toEqual([true, ["1"]]);
    expect(lane.rows.get(1).state).toBe(DeliveryState.DELIVERED);
    await lane.wake();
    await lane.clock.advance(100_000);
    expect(lane.log).toEqual(["1"]);
  });

  test("ends at once when nothing is under way", async () => {
    await useDispatcher().dispatcher.stop();
  });

  test("can end what is under way", async () => {
    const lane = useDispatcher();
    await lane.submit("output", "a", "1");
    const stopped = lane.dispatcher.stop();
    lane.dispatcher.abort();
    expect(lane.underWay.get("1")?.signal?.aborted).toBe(true);
    await lane.end("1", failed("inDoubt"));
    await stopped;
    expect(lane.rows.get(1)).toMatchObject({ isInDoubt: true, state: DeliveryState.STORED });
  });

  test("does not wait for a store that fails", async () => {
    const lane = useDispatcher();
    onTestFinished(() => expect(lane.errors.length).toBeGreaterThan(0));
    await lane.submit("output", "a", "1");
    lane.state.storeError = new Error("gone");
    const stopped = lane.dispatcher.stop();
    await lane.end("1");
    await stopped;
  });
});
