import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import { Directive } from "../../gen/taskgate/v1/session_pb.ts";
import type { Attempt } from "../model/call-result.ts";
import type { LeaseBook } from "../model/lease-book.ts";
import type { PooledWorker, TaskBeats, WorkerListener } from "../model/work-pool.ts";
import type { Holdings } from "./holdings.ts";
import { hasBegun, keyOf, type Offer, type Worker } from "./pooled-worker.ts";
import { alreadyBegun, failureOf, notBegun } from "./work-failures.ts";
import type { WorkShare } from "./work-share.ts";

/** What a worker's place needs of the pool. */
export interface PlaceContext {
  book: LeaseBook;
  beats: TaskBeats;
  share: WorkShare;
  holdings: Holdings;
  isDraining: () => boolean;
  /** The worker has shown that it lives. */
  touch: (worker: Worker) => void;
  /** What a worker was given is another's. */
  regain: (worker: Worker, offers: readonly Offer[]) => void;
  /** The wall clock. */
  now: () => number;
}

/** Creates a worker's place in the pool, for one stream of its session. */
export function createPlace(
  worker: Worker,
  listener: WorkerListener,
  isResumed: boolean,
  context: PlaceContext,
): PooledWorker {
  const { book, beats, share, holdings, isDraining, touch, regain, now } = context;
  return {
    sessionId: worker.sessionId,
    isResumed,
    // Of a start that Aidbox has not answered yet nothing is known: it is asked for again.
    startRequestIds: Array.from(worker.entries.values())
      .filter(hasBegun)
      .map(({ startRequestId }) => startRequestId)
      .filter((requestId) => requestId !== ""),

    async quiet() {
      if (worker.ending.size > 0) {
        await new Promise<void>((resolve) => worker.waiting.add(resolve));
      }
    },

    open() {
      if (worker.listener !== listener) {
        return;
      }
      worker.isOpen = true;
      if (isDraining()) {
        listener.onDirective(Directive.DRAIN, ErrorReason.DRAINING);
      }
      share.settle(worker);
    },

    touch: () => touch(worker),

    change(terms) {
      worker.terms = terms;
      share.settle(worker);
    },

    async start(attempt, requestId) {
      const entry = holdings.find(worker, attempt) ?? (await holdings.findOrFail(worker, attempt));
      if ("code" in entry) {
        return { kind: "failed", failure: entry };
      }
      return holdings.start(worker, entry, requestId);
    },

    release(attempt) {
      const entry = holdings.find(worker, attempt);
      if (entry === undefined) {
        return worker.gone.has(keyOf(attempt))
          ? undefined
          : failureOf(ErrorReason.TASK_UNKNOWN, "the worker does not hold the task", attempt);
      }
      const { offer: offered } = entry;
      if (offered === undefined || entry.starting !== undefined) {
        return alreadyBegun(attempt);
      }
      holdings.withdraw(worker, entry, ErrorReason.LEASE_EXPIRED);
      offered.shunned.add(worker.sessionId);
      regain(worker, [offered]);
      return undefined;
    },

    beat(attempts) {
      let leaseExpireMs = now() + book.durationMs;
      const strange: Attempt[] = [];
      for (const attempt of attempts) {
        const entry = holdings.find(worker, attempt);
        if (entry === undefined) {
          strange.push(attempt);
        } else {
          leaseExpireMs = Math.min(leaseExpireMs, holdings.beatFor(worker, entry) ?? leaseExpireMs);
        }
      }
      return {
        directive: isDraining() ? Directive.DRAIN : Directive.CONTINUE,
        cause: isDraining() ? ErrorReason.DRAINING : ErrorReason.UNSPECIFIED,
        leaseExpireMs,
        stopped: strange.length === 0 ? undefined : holdings.explain(worker, strange),
      };
    },

    async progress(attempt, progress) {
      const entry = holdings.find(worker, attempt) ?? (await holdings.findOrFail(worker, attempt));
      if ("code" in entry) {
        return { kind: "failed", failure: entry };
      }
      if (!hasBegun(entry)) {
        return { kind: "failed", failure: notBegun(attempt) };
      }
      entry.attached?.beat();
      const result = await beats.progress(attempt, progress);
      holdings.onNotified(worker, entry, result);
      return result;
    },

    notBegun(attempt) {
      const entry = worker.entries.get(keyOf(attempt));
      return entry === undefined || hasBegun(entry) ? undefined : notBegun(attempt);
    },

    ending(attempt) {
      const key = keyOf(attempt);
      worker.ending.set(key, (worker.ending.get(key) ?? 0) + 1);
      return {
        answered() {
          const others = (worker.ending.get(key) ?? 1) - 1;
          if (others === 0) {
            worker.ending.delete(key);
          } else {
            worker.ending.set(key, others);
          }
          if (worker.ending.size === 0) {
            for (const wake of worker.waiting) {
              wake();
            }
            worker.waiting.clear();
          }
          share.settle(worker);
        },
      };
    },

    leave() {
      if (worker.listener === listener) {
        worker.listener = undefined;
        worker.isOpen = false;
        regain(worker, holdings.withdrawOffers(worker));
      }
    },
  };
}
