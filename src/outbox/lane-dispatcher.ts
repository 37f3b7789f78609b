import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import { DeliveryState, type Failure } from "../../gen/taskgate/v1/receipt_pb.ts";
import type { AttemptResult } from "../model/attempt-result.ts";
import type { DeliveryUpstream } from "../model/delivery.ts";
import type { DeliveryObserver } from "../model/delivery-observer.ts";
import { createFailure } from "../model/failure.ts";
import { createCircuitBreaker } from "./circuit-breaker.ts";
import type { Clock } from "./clock.ts";
import { keptAnswer } from "./kept-answer.ts";
import type { KeyOrder } from "./key-order.ts";
import { createRetryBudget } from "./retry-budget.ts";
import { hurried, maxDelayMs, type RetryPolicy, settlementOf } from "./retry-policy.ts";
import type { ClaimedDelivery, ClaimResult, DeliveryRow, Settlement, SettleResult, Store } from "./store.ts";

export interface LaneDispatcherDeps {
  store: Store;
  lane: string;
  upstreamName: string;
  upstream: DeliveryUpstream;
  policy: RetryPolicy;
  /**
   * How many attempts may be under way at once. As many again are recorded as begun
   * meanwhile, so that none waits for a commit; after a crash they are in doubt as well.
   */
  concurrency: number;
  /** Keeps a task's attempts apart from whatever else is sent for it. */
  order: KeyOrder;
  clock: Clock;
  random: () => number;
  /** A delivery has come to another state, or its attempt has failed. May be told twice. */
  onChange: (row: DeliveryRow) => void;
  /** Undefined: nobody observes deliveries. */
  observer?: DeliveryObserver | undefined;
  /** Attempts are kept away from the origin, because of this failure; undefined: no more. */
  onTrouble?: (failure: Failure | undefined) => void;
  /** The upstream has begun to refuse our credentials; undefined: it does so no more. */
  onUnauthorized: (failure: Failure | undefined) => void;
  /** A delivery is not sent because its row is damaged. */
  onDamage: (row: DeliveryRow) => void;
  onUnexpectedError: (error: unknown) => void;
}

/** Sends what waits for one origin: each task's deliveries in their order, one at a time. */
export interface LaneDispatcher {
  /** Takes a place for the first attempt of a report that is about to be stored; false: it must wait. */
  tryReserve(): boolean;
  /** Takes a place for a delivery that was recorded as begun, whether there is one or not. */
  take(): void;
  /** Gives a place back that was not needed. */
  release(): void;
  /** Sends a delivery whose first attempt was recorded when it was stored, on a reserved place. */
  send(claimed: ClaimedDelivery): void;
  /** Something is due. */
  wake(): void;
  /** Something is wanted now, although the origin is in trouble. */
  tryNow(): void;
  /**
   * The gateway ends soon: from now on outcomes go first, statuses that they have
   * overtaken stay behind, and what waits is tried at once and then every second.
   */
  hurry(endMs: number): void;
  /** Begins no more attempts, and waits for those under way. */
  stop(): Promise<void>;
  /** Ends the attempts under way. */
  abort(): void;
  /** Attempts are kept away from the origin, because it is in trouble. */
  readonly isInTrouble: boolean;
  /** The upstream refuses our credentials. */
  readonly isUnauthorized: boolean;
}

/** Creates the dispatcher of one lane. It does nothing until it is woken. */
export function createLaneDispatcher(deps: LaneDispatcherDeps): LaneDispatcher {
  const { store, lane, clock, order } = deps;
  const breaker = createCircuitBreaker(deps.random);
  const budget = createRetryBudget();
  const ending = new AbortController();
  const places = deps.concurrency * recordedPerAttempt;
  let free = places;
  let underWay = 0;
  const waitingToSend: (() => void)[] = [];
  let isClaiming = false;
  let isWoken = false;
  // More may be due than there were places for.
  let isBehind = false;
  let isStopped = false;
  let isUnauthorized = false;
  // Of the gateway, by the wall clock, once it is known.
  let endMs: number | undefined;
  let whenIdle: (() => void) | undefined;
  let cancelTimer: (() => void) | undefined;

  function wakeIn(delayMs: number): void {
    cancelTimer?.();
    cancelTimer = isStopped ? undefined : clock.setTimer(wake, Math.max(1, delayMs));
  }

  function wake(): void {
    isWoken = true;
    if (!isClaiming) {
      isClaiming = true;
      void claim();
    }
  }

  async function claim(): Promise<void> {
    try {
      while (isWoken && !isStopped) {
        isWoken = false;
        await claimOnce();
      }
    } finally {
      // In the step that saw that nobody had woken it: who wakes it now is heard.
      isClaiming = false;
      settleIdle();
    }
  }

  async function claimOnce(): Promise<void> {
    const nowMs = clock.now();
    const limit = Math.min(free, breaker.allowance(nowMs));
    if (limit <= 0) {
      isBehind = true;
      const delayMs = breaker.delayMs(nowMs);
      if (delayMs > 0) {
        wakeIn(delayMs);
      }
      return;
    }
    free -= limit;
    let result: ClaimResult;
    try {
      const supersede = endMs !== undefined;
      result = await store.run({ type: "claim", lane, limit, nowMs, maxDelayMs, supersede });
    } catch (error) {
      free += limit;
      deps.onUnexpectedError(error);
      wakeIn(storeRetryMs);
      return;
    }
    free += limit - result.claimed.length;
    isBehind = result.claimed.length === limit;
    breaker.began(result.claimed.length);
    tell(result);
    for (const claimed of result.claimed) {
      void work(claimed);
    }
    if (!isBehind && result.nextDueMs !== null) {
      // What is due later than anything can be, is due.
      const delayMs = result.nextDueMs - clock.now();
      wakeIn(delayMs > maxDelayMs ? 0 : delayMs);
    }
  }

  function tell({ superseded, damaged }: Pick<SettleResult, "superseded" | "damaged">): void {
    for (const row of [...superseded, ...damaged]) {
      deps.onChange(row);
      deps.observer?.ended(row);
    }
    damaged.forEach(deps.onDamage);
  }

  // Works on one task after the other, on one place.
  async function work(first: ClaimedDelivery): Promise<void> {
    let claimed: ClaimedDelivery | undefined = first;
    for (let done = 1; claimed !== undefined; done += 1) {
      // At the end a place is for outcomes first.
      const isFirst = endMs === undefined || claimed.outcomeCreateMs !== null;
      const settled: SettleResult = await attempt(claimed, done < maxInARow && isFirst);
      tell(settled);
      claimed = settled.next;
      if (settled.hasNext) {
        isBehind = true;
      }
    }
    free += 1;
    if (isBehind) {
      wake();
    }
    settleIdle();
  }

  async function attempt(claimed: ClaimedDelivery, mayGoOn: boolean): Promise<SettleResult> {
    const { row } = claimed;
    const result = await order.run(`${row.upstream}/${row.key}`, () => sendInTurn(claimed));
    const nowMs = clock.now();
    if (result.kind === "unauthorized" ? !isUnauthorized : isUnauthorized && result.kind !== "unavailable") {
      isUnauthorized = !isUnauthorized;
      deps.onUnauthorized(result.kind === "unauthorized" ? result.failure : undefined);
    }
    if (result.kind === "accepted") {
      budget.success(nowMs);
      const delivered: DeliveryRow = {
        ...row,
        state: DeliveryState.DELIVERED,
        isInDoubt: false,
        failure: null,
        deliverMs: nowMs,
        endMs: nowMs,
        answer: result.answer,
      };
      deps.onChange(delivered);
      deps.observer?.ended(delivered);
      const answer = keptAnswer(result.answer);
      const settled = await settle(row, { kind: "delivered", answer }, nowMs, mayGoOn);
      if (settled !== notSettled) {
        deps.onChange({ ...delivered, answer });
      }
      return settled;
    }
    const reserve = () => budget.reserve(nowMs);
    const policy = endMs === undefined ? deps.policy : hurried(deps.policy, endMs - nowMs);
    const settled = await settle(
      row,
      settlementOf(result, claimed, policy, nowMs, reserve, deps.random),
      nowMs,
      mayGoOn,
    );
    if (settled.row !== undefined) {
      deps.onChange(settled.row);
      if (settled.row.state !== DeliveryState.STORED) {
        deps.observer?.ended(settled.row);
      }
      // Its next attempt is not known to the timer.
      wake();
    }
    return settled;
  }

  async function sendInTurn(claimed: ClaimedDelivery): Promise<AttemptResult> {
    const mustWait = underWay >= deps.concurrency;
    if (mustWait) {
      await new Promise<void>((resolve) => waitingToSend.push(resolve));
    } else {
      underWay += 1;
    }
    try {
      if (mustWait && breaker.allowance(clock.now()) !== Number.POSITIVE_INFINITY) {
        return notSent;
      }
      const result = await send(claimed);
      // Before the next one has its turn.
      record(result);
      return result;
    } finally {
      const next = waitingToSend.shift();
      if (next === undefined) {
        underWay -= 1;
      } else {
        next();
      }
    }
  }

  function record(result: AttemptResult): void {
    const wasInTrouble = breaker.isOpen;
    breaker.record(result, clock.now());
    if (breaker.isOpen !== wasInTrouble) {
      deps.onTrouble?.(result.kind === "accepted" || wasInTrouble ? undefined : result.failure);
    }
  }

  async function send(claimed: ClaimedDelivery): Promise<AttemptResult> {
    const observed = deps.observer?.attempt(claimed.row);
    const result = await (observed === undefined
      ? sendUnobserved(claimed)
      : observed.run(() => sendUnobserved(claimed)));
    observed?.end(result);
    return result;
  }

  async function sendUnobserved({ row, target, body }: ClaimedDelivery): Promise<AttemptResult> {
    const { taskId, attempt: taskAttempt, isInDoubt } = row;
    try {
      return await deps.upstream.send(
        { taskId, attempt: taskAttempt, target, body, isInDoubt },
        ending.signal,
      );
    } catch (error) {
      deps.onUnexpectedError(error);
      return { kind: "inDoubt", failure: createFailure(ErrorReason.INTERNAL, "the attempt failed") };
    }
  }

  async function settle(
    row: DeliveryRow,
    settlement: Settlement,
    nowMs: number,
    mayGoOn: boolean,
  ): Promise<SettleResult> {
    for (;;) {
      const claimNext = !isStopped && (mayGoOn || !isBehind) && breaker.allowance(nowMs) > 1;
      const supersede = endMs !== undefined;
      try {
        return await store.run({ type: "settle", seq: row.seq, settlement, nowMs, claimNext, supersede });
      } catch (error) {
        deps.onUnexpectedError(error);
        if (isStopped) {
          return notSettled;
        }
        await new Promise<void>((resolve) => clock.setTimer(resolve, storeRetryMs));
      }
    }
  }

  function settleIdle(): void {
    if (isStopped && free === places && !isClaiming) {
      whenIdle?.();
    }
  }

  return {
    tryReserve() {
      const isFree =
        !isStopped && !isBehind && free > 0 && breaker.allowance(clock.now()) === Number.POSITIVE_INFINITY;
      free -= isFree ? 1 : 0;
      return isFree;
    },
    take() {
      free -= 1;
    },
    release() {
      free += 1;
      if (isBehind) {
        wake();
      }
      settleIdle();
    },
    send: (claimed) => void work(claimed),
    wake,
    tryNow() {
      breaker.tryNow();
      wake();
    },
    hurry(gatewayEndMs) {
      endMs = gatewayEndMs;
      breaker.hurry(endMs);
      const nowMs = clock.now();
      store
        .run({ type: "hasten", upstream: deps.upstreamName, lane, nowMs, limit: maxHastened })
        .catch(deps.onUnexpectedError)
        .finally(wake);
    },
    stop() {
      isStopped = true;
      cancelTimer?.();
      return new Promise((resolve) => {
        whenIdle = resolve;
        settleIdle();
      });
    },
    abort: () => ending.abort(new Error("the gateway stops")),
    get isInTrouble() {
      return breaker.isOpen;
    },
    get isUnauthorized() {
      return isUnauthorized;
    },
  };
}

// It is in doubt when the store is opened again.
const notSettled: SettleResult = {
  row: undefined,
  next: undefined,
  hasNext: false,
  superseded: [],
  damaged: [],
};
const recordedPerAttempt = 2;
const notSent: AttemptResult = {
  kind: "unavailable",
  failure: createFailure(ErrorReason.UPSTREAM_UNAVAILABLE, "it was not sent: the upstream is in trouble"),
};
// How many deliveries of one task go one after the other while other tasks wait for a place.
const maxInARow = 8;
// More than can leave before the end.
const maxHastened = 20_000;
// How long to wait with a store that does not take what must be written.
const storeRetryMs = 1000;
