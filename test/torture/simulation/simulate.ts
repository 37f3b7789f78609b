import { DeliveryState } from "../../../gen/taskgate/v1/receipt_pb.ts";
import type { DeliveryKind, NewDelivery } from "../../../src/model/delivery.ts";
import type { Submission } from "../../../src/model/submission.ts";
import { createOutbox, type Outbox } from "../../../src/outbox/outbox.ts";
import type { DeliveryRow, ResultOf, Store, StoreOp } from "../../../src/outbox/store.ts";
import { createRandom, intBetween, pick } from "../random.ts";
import { createBook } from "./book.ts";
import { createSimulatedDisk } from "./simulated-store.ts";
import { createSimulatedUpstreams, type UpstreamName, type UpstreamProcess } from "./simulated-upstream.ts";
import { createVirtualTime } from "./virtual-time.ts";

/** A safeguard that is switched off, to see that the simulation notices. */
export type Sabotage = "doubtIgnored" | "orderBroken" | "acknowledgedEarly" | "doubtForgotten";

export interface Simulation {
  /** What must not happen, and happened. */
  problems: string[];
  /** What happened, to see that it did. */
  counts: Record<string, number>;
}

// How long the world goes on after the last fault.
const patienceMs = 30 * 60_000;
const maxWaitMs = 60_000;

const rewrites: Partial<Record<Sabotage, [from: string, to: string]>> = {
  orderBroken: ["ORDER BY seq LIMIT 1", "ORDER BY seq DESC LIMIT 1"],
  doubtForgotten: ["SET in_doubt = 1 WHERE seq IN", "SET in_doubt = 0 WHERE seq IN"],
};

/**
 * Runs an outbox with its dispatchers and its store in virtual time, with callers,
 * operators, upstreams and crashes as a seed decides. The same seed runs the same way.
 */
export async function simulate(seed: number, sabotage?: Sabotage): Promise<Simulation> {
  const random = createRandom(seed);
  const time = createVirtualTime(Date.UTC(2026, 0, 1));
  const world = time.createClock();
  const book = createBook();
  const counts: Record<string, number> = {};
  const count = (what: string) => {
    counts[what] = (counts[what] ?? 0) + 1;
  };

  const troubleMs = intBetween(random, 1000, 120_000);
  const concurrency = intBetween(random, 1, 5);
  const hasOperator = random() < 0.3;
  const hasJumps = random() < 0.15;
  const maxRows = random() < 0.2 ? intBetween(random, 4, 12) : 10_000;
  const bodies = new Map<string, string>();
  // The next commit is cut off.
  let isArmed = false;
  const rewrite = sabotage && rewrites[sabotage];
  let isRewritten = rewrite === undefined;

  const disk = createSimulatedDisk({
    random,
    quota: { maxRows, maxBytes: 1e9, outcomeReserve: 0.25 },
    now: time.now,
    acknowledgeEarly: sabotage === "acknowledgedEarly",
    onDone,
    onCommit() {
      if (isArmed) {
        isArmed = false;
        count("crashesInCommit");
        world.setTimer(crash, random() * 12);
      }
    },
    rewrite(sql) {
      isRewritten ||= sql.includes(rewrite?.[0] ?? "");
      return rewrite === undefined ? sql : sql.replace(...rewrite);
    },
  });
  if (!isRewritten) {
    throw new Error(`the store has nothing to sabotage by ${sabotage}`);
  }
  const upstreams = createSimulatedUpstreams({
    random,
    time,
    book,
    trouble: random() < 0.1 ? 0 : random() * 0.9,
    concurrency,
    ignoreDoubt: sabotage === "doubtIgnored",
  });

  // What is done may still be undone by a crash, and is then done again.
  function onDone(op: StoreOp, result: ResultOf<StoreOp>): void {
    if (op.type === "accept") {
      const accepted = result as ResultOf<typeof op>;
      if (accepted.kind === "stored") {
        bodies.set(accepted.row.id, op.delivery.body);
        book.stored(book.entry(op.delivery), accepted.row.seq);
      }
    } else if (op.type === "settle") {
      const { row, superseded } = result as ResultOf<typeof op>;
      const entry = book.findBySeq(op.seq);
      const isDelivered = op.settlement.kind === "delivered";
      if (entry !== undefined && (isDelivered || (row !== undefined && row.state !== DeliveryState.STORED))) {
        entry.isOpenAgain = op.settlement.kind === "rejected" && op.settlement.isTaskOpen;
        entry.endedMs ??= time.steadyMs;
      }
      superseded.forEach(() => {
        count("superseded");
      });
    }
  }

  interface Process extends UpstreamProcess {
    store: Store;
    outbox: Outbox;
    clock: ReturnType<typeof time.createClock>;
    gone: Promise<void>;
    end: () => void;
  }
  let generation = 0;
  let stoppingGeneration: number | undefined;
  const isStopping = () => stoppingGeneration === generation;
  let process: Process | undefined;
  let whenUp = Promise.withResolvers<void>();

  function boot(): void {
    generation += 1;
    const clock = time.createClock();
    const store = disk.open(clock);
    let isGone = false;
    const { promise: gone, resolve } = Promise.withResolvers<void>();
    const seen: UpstreamProcess = {
      generation,
      isGone: () => isGone,
      underWay: new Map(),
      perLane: new Map(),
    };
    const outbox = createOutbox({
      store,
      upstreams: upstreams.connect(seen),
      clock,
      random,
      concurrency,
      maxWaitMs,
      onAlarm: (message) => book.problem(`an alarm: ${message}`),
      onWarning: () => undefined,
      onUnexpectedError(error) {
        // Whoever calls while the store closes hears that it has not stored anything.
        if (!isStopping()) {
          book.problem(`an unexpected error: ${error}`);
        }
      },
    });
    const end = () => {
      isGone = true;
      clock.cancelAll();
      resolve();
    };
    process = { ...seen, store, outbox, clock, gone, end };
    void outbox.start();
    whenUp.resolve();
  }

  function crash(): void {
    if (process === undefined) {
      return;
    }
    count("crashes");
    process.end();
    process = undefined;
    disk.crash();
    whenUp = Promise.withResolvers();
    world.setTimer(boot, intBetween(random, 50, 1000));
  }

  async function restart(): Promise<void> {
    const stopping = process;
    if (stopping === undefined) {
      return;
    }
    stoppingGeneration = generation;
    await Promise.race([stopping.outbox.stop(intBetween(random, 0, 5000)), stopping.gone]);
    if (process === stopping) {
      await Promise.race([stopping.store.close(), stopping.gone]);
    }
    if (process === stopping) {
      count("restarts");
      stopping.end();
      process = undefined;
      whenUp = Promise.withResolvers();
      world.setTimer(boot, intBetween(random, 50, 1000));
    }
  }

  function sleep(ms: number): Promise<void> {
    return new Promise((resolve) => world.setTimer(resolve, ms));
  }

  // Undefined: the process is gone, and nobody knows.
  async function submit(delivery: NewDelivery, requestId: string): Promise<Submission | undefined> {
    await whenUp.promise;
    const current = process;
    if (current === undefined) {
      return undefined;
    }
    const entry = book.entry(delivery);
    const isPatient = random() < 0.5;
    const timeoutMs = isPatient && random() < 0.3 ? intBetween(random, 100, 5000) : undefined;
    const submission = await Promise.race([
      current.outbox.submit(delivery, {
        operation: delivery.kind,
        caller: "alice",
        waitFor: isPatient ? "delivered" : "stored",
        requestId,
        sessionId: "",
        timeoutMs: () => timeoutMs,
        signal: new AbortController().signal,
      }),
      current.gone.then(() => undefined),
    ]);
    if (submission?.kind !== "accepted") {
      return submission;
    }
    const { deliveryId, state } = submission.receipt;
    // An equal outcome is answered with the one that came first.
    const acknowledged = book.find(bodies.get(deliveryId) ?? "");
    if (acknowledged === undefined || acknowledged.delivery.outcomeTag !== delivery.outcomeTag) {
      book.problem(`${delivery.body} is acknowledged as ${deliveryId}, which is ${bodies.get(deliveryId)}`);
    } else {
      acknowledged.acknowledged.add(deliveryId);
      count("acknowledged");
      const endedAgoMs = time.steadyMs - (acknowledged.endedMs ?? Number.POSITIVE_INFINITY);
      if (isPatient && state === DeliveryState.STORED && endedAgoMs > 1000 && !acknowledged.isByHand) {
        book.problem(`${delivery.body} is answered as STORED, ${endedAgoMs} ms after it had ended`);
      }
    }
    if (entry.delivery.kind !== "outcome" && acknowledged !== entry) {
      book.problem(`${delivery.body} is acknowledged as another report`);
    }
    return submission;
  }

  async function report(delivery: NewDelivery): Promise<Submission | undefined> {
    const requestId = random() < 0.6 ? `request ${delivery.body}` : "";
    for (let tries = 0; ; tries += 1) {
      const submission = await submit(again(delivery, requestId, tries), requestId);
      const isFull = submission?.kind === "failed" && submission.failure.retryDelay !== undefined;
      // Others would be a second report when they come again.
      const isRecognised = requestId !== "" || delivery.kind === "outcome";
      if (!isFull && !(submission === undefined && isRecognised)) {
        if (submission?.kind === "accepted" && isRecognised && random() < 0.1) {
          // A caller that did not hear the answer.
          await submit(again(delivery, requestId, tries + 1), requestId);
        }
        return submission;
      }
      await sleep(intBetween(random, 10, 3000));
    }
  }

  async function work(task: number): Promise<void> {
    const upstream = pick<UpstreamName>(random, ["orchestra", "orchestra", "orchestrator", "aidbox"]);
    const origin = upstream === "orchestrator" ? ` ${intBetween(random, 0, 2)}` : "";
    const key = `${upstream} ${task}`;
    let made = 0;
    function next(kind: DeliveryKind): NewDelivery {
      made += 1;
      const body = `${key} #${made}`;
      const outcomeTag = kind === "outcome" ? body : "";
      const lane = upstream + origin;
      return { upstream, lane, key, taskId: key, attempt: "0", kind, outcomeTag, target: "", body };
    }
    await sleep(random() * troubleMs * 0.5);
    const reports: Promise<unknown>[] = [];
    for (let steps = upstream === "orchestra" ? intBetween(random, 0, 8) : 0; steps > 0; steps -= 1) {
      const reported = report(next(pick<DeliveryKind>(random, ["status", "status", "output", "log"])));
      reports.push(reported);
      if (random() < 0.6) {
        await reported;
      }
      await sleep(random() < 0.5 ? 0 : random() * 2000);
      if (random() < 0.2 && process !== undefined) {
        const current = process;
        const turn = current.outbox
          .inOrder({ upstream, key }, "alice", AbortSignal.any([]), () => upstreams.besides(current, key))
          .catch(() => undefined);
        await Promise.race([turn, current.gone, sleep(500)]);
      }
    }
    if (random() < 0.95) {
      let outcome = next("outcome");
      for (let tries = 0; tries < 5; tries += 1) {
        const submission = await report(outcome);
        if (random() < 0.3) {
          reports.push(report(random() < 0.5 ? again(outcome, "", 100) : next("log")));
        }
        if (submission?.kind !== "failed" || submission.failure.metadata.task_open !== "true") {
          break;
        }
        if (random() < 0.5 && upstream === "orchestra") {
          reports.push(report(next("status")));
        }
        outcome = next("outcome");
      }
    }
    await Promise.all(reports);
  }

  async function operate(): Promise<void> {
    for (;;) {
      await sleep(random() * 5000);
      const current = process;
      if (time.steadyMs > troubleMs || current === undefined) {
        if (time.steadyMs > troubleMs) {
          return;
        }
        continue;
      }
      const seq = intBetween(random, 1, 40);
      const type = random() < 0.7 ? "retry" : "discard";
      const entry = book.findBySeq(seq);
      if (entry === undefined) {
        continue;
      }
      // Before it is done: it may be done, and nobody hear of it.
      const before = { ...entry };
      entry.isByHand ||= type === "retry";
      entry.isDiscarded ||= type === "discard";
      entry.isOpenAgain = type === "discard" && entry.delivery.kind === "outcome";
      const moving = current.store.run({ type, seq, nowMs: time.now() }).catch(() => undefined);
      const moved = await Promise.race([moving, current.gone]);
      if (moved?.kind === "moved") {
        count(type);
        entry.endedMs = undefined;
        current.outbox.moved(moved.row, moved.lane);
      } else if (moved?.kind === "refused") {
        entry.isByHand = before.isByHand;
        entry.isDiscarded = before.isDiscarded;
        entry.isOpenAgain ||= before.isOpenAgain;
      }
    }
  }

  boot();
  const tasks = intBetween(random, 2, 8);
  const working = Promise.all(Array.from({ length: tasks }, (_, task) => work(task)));
  let isWorking = true;
  void working.then(() => {
    isWorking = false;
  });
  for (let crashes = intBetween(random, 0, 5); crashes > 0; crashes -= 1) {
    world.setTimer(() => {
      const chance = random();
      if (chance < 0.4) {
        isArmed = true;
      } else if (chance < 0.7) {
        crash();
      } else {
        void restart();
      }
    }, random() * troubleMs);
  }
  if (hasOperator) {
    void operate();
  }
  if (hasJumps) {
    const yearMs = 365 * 86_400_000;
    world.setTimer(() => time.jump(pick(random, [yearMs, -10 * yearMs, 3_600_000])), random() * troubleMs);
  }
  world.setTimer(upstreams.heal, troubleMs);
  await time.runUntil(troubleMs + patienceMs);

  if (isWorking) {
    book.problem("a caller still waits");
  }
  if (process === undefined) {
    book.problem("no process runs");
  }
  const rows: DeliveryRow[] = [];
  for (let afterSeq: number | null = 0; afterSeq !== null; ) {
    const page: ResultOf<{ type: "list"; filter: object; afterSeq: number; limit: number }> = disk.query({
      type: "list",
      filter: {},
      afterSeq,
      limit: 500,
    });
    rows.push(...page.rows);
    afterSeq = page.lastSeq;
  }
  book.judge(rows, (id) => bodies.get(id));
  const backlog = disk.query({ type: "backlog" });
  if (backlog.some(({ rows: waiting, bytes }) => waiting !== 0 || bytes !== 0)) {
    book.problem(`the backlog is ${JSON.stringify(backlog)}`);
  }
  disk.close();
  return { problems: book.problems, counts: { ...counts, ...upstreams.counts, deliveries: rows.length } };
}

// The same outcome once more: known by its tag, and told apart by its body.
function again(delivery: NewDelivery, requestId: string, tries: number): NewDelivery {
  const isRecognisedByTag = delivery.kind === "outcome" && requestId === "" && tries > 0;
  return isRecognisedByTag ? { ...delivery, body: `${delivery.body} (${tries})` } : delivery;
}
