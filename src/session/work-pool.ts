import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import { Directive } from "../../gen/taskgate/v1/session_pb.ts";
import { drainingFailure } from "../model/failure.ts";
import { createRecentMap } from "../model/recent-map.ts";
import type { WorkPool, WorkSubscription } from "../model/work-pool.ts";
import { createHoldings, type HoldingsDeps } from "./holdings.ts";
import { workerSessionName } from "./lease-book.ts";
import { tooManySessions } from "./lease-failures.ts";
import { createPauseDetector } from "./pause-detector.ts";
import type { Offer, Worker } from "./pooled-worker.ts";
import type { SessionIds } from "./session-ids.ts";
import { unknownSession } from "./work-failures.ts";
import { createWorkShare, startTimeoutMs, type WorkShareDeps } from "./work-share.ts";
import { createPlace, type PlaceContext } from "./worker-place.ts";

export interface WorkPoolDeps extends Omit<HoldingsDeps, "share">, Omit<WorkShareDeps, "holdings"> {
  ids: SessionIds;
  maxWorkers: number;
}

const tickMs = 1000;
// Of each worker, so many tasks that it has no more.
const maxGone = 1000;

/**
 * Creates the pool of workers. Tasks are taken only for places that workers have, go
 * to each in turn, the oldest first, and stay with a worker until their outcome is
 * accepted, they are given up, or were not started in time. Workers of one caller
 * that take the same definitions share what is taken for them; callers share nothing.
 */
export function createWorkPool(deps: WorkPoolDeps): WorkPool {
  const { book, ids, now, steadyNow, setTimer } = deps;
  const workers = new Map<string, Worker>();
  const share = createWorkShare({ ...deps, holdings: () => holdings });
  const holdings = createHoldings({ ...deps, share: () => share });
  const pause = createPauseDetector(steadyNow, now);
  let isDraining = false;
  let isStopped = false;
  let cancelTick: (() => void) | undefined;

  function touch(worker: Worker): void {
    const wasPresent = share.isPresent(worker);
    worker.lastBeatMs = now();
    worker.heardMs = steadyNow();
    if (!wasPresent) {
      share.settle(worker);
    }
  }

  // A worker that is silent is given nothing, and keeps nothing that has not begun.
  function tick(): void {
    cancelTick = undefined;
    const wasPaused = pause.wasPaused();
    for (const worker of workers.values()) {
      if (wasPaused) {
        worker.heardMs = steadyNow();
      } else if (worker.free > 0 && !share.isPresent(worker)) {
        share.count(worker);
      } else if (steadyNow() - worker.heardMs >= book.durationMs) {
        regain(worker, holdings.withdrawOffers(worker));
        if (worker.listener === undefined && worker.entries.size === 0) {
          workers.delete(worker.sessionId);
          share.leaveGroup(worker);
        }
      }
    }
    share.settle();
    watch();
  }

  function watch(): void {
    if (workers.size > 0 && !isStopped) {
      cancelTick ??= setTimer(tick, tickMs);
    }
  }

  function regain(worker: Worker, offers: readonly Offer[]): void {
    share.count(worker);
    for (const offered of offers) {
      share.offer(offered);
    }
    share.settle(worker);
  }

  function enter(subscription: WorkSubscription): Worker {
    const { caller, definitions: _definitions, sessionId, ...terms } = subscription;
    const group = share.groupOf(subscription);
    const known = workers.get(sessionId);
    if (known !== undefined) {
      known.listener?.onSuperseded();
      known.listener = undefined;
      const offers = holdings.withdrawOffers(known);
      known.terms = terms;
      if (known.group !== group) {
        share.leaveGroup(known);
        known.group = group;
        group.workers.add(known);
      }
      regain(known, offers);
      return known;
    }
    const worker: Worker = {
      sessionId: sessionId || ids.create(workerSessionName(caller)),
      caller,
      createMs: now(),
      terms,
      group,
      entries: new Map(),
      ending: new Map(),
      waiting: new Set(),
      late: 0,
      gone: createRecentMap(maxGone),
      listener: undefined,
      isOpen: false,
      lastBeatMs: now(),
      heardMs: Number.NEGATIVE_INFINITY,
      free: 0,
    };
    workers.set(worker.sessionId, worker);
    group.workers.add(worker);
    if (cancelTick === undefined) {
      // Nobody has looked for a while.
      pause.wasPaused();
      watch();
    }
    for (const { task } of book.tasksOf(worker.sessionId)) {
      holdings.find(worker, { id: task.taskId, execId: task.attempt });
    }
    return worker;
  }

  const context: PlaceContext = { ...deps, share, holdings, isDraining: () => isDraining, touch, regain };

  return {
    startTimeoutMs,
    get size() {
      return workers.size;
    },

    join(subscription, listener) {
      const { caller, sessionId } = subscription;
      if (sessionId === "" && isDraining) {
        return { kind: "failed", failure: drainingFailure() };
      }
      if (sessionId !== "" && !ids.isGenuine(sessionId, workerSessionName(caller))) {
        return { kind: "failed", failure: unknownSession() };
      }
      if (!workers.has(sessionId) && workers.size >= deps.maxWorkers) {
        return { kind: "failed", failure: tooManySessions(deps.maxWorkers) };
      }
      const worker = enter(subscription);
      worker.listener = listener;
      worker.isOpen = false;
      touch(worker);
      return { kind: "joined", worker: createPlace(worker, listener, sessionId !== "", context) };
    },

    ended(taskId, cause) {
      const holder = holdings.holderOf(taskId);
      if (holder !== undefined) {
        holdings.over(holder.worker, holder.entry, cause);
      }
      share.forget(taskId);
    },

    drain() {
      isDraining = true;
      share.close();
      for (const worker of workers.values()) {
        if (worker.isOpen) {
          worker.listener?.onDirective(Directive.DRAIN, ErrorReason.DRAINING);
        }
        share.settle(worker);
      }
    },

    stop() {
      isStopped = true;
      cancelTick?.();
      share.close();
    },

    list: () =>
      Array.from(workers.values(), (worker) => ({
        sessionId: worker.sessionId,
        upstream: "aidbox",
        caller: worker.caller,
        worker: worker.terms.worker,
        createMs: worker.createMs,
        lastBeatMs: worker.lastBeatMs,
        leaseExpireMs: Math.floor(now() + Math.max(0, worker.heardMs + book.durationMs - steadyNow())),
        isConnected: worker.listener !== undefined,
        taskIds: Array.from(worker.entries.values(), ({ attempt }) => attempt.id),
      })),
  };
}
