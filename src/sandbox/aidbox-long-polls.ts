import { type Clock, runAt } from "./clock.ts";

/** Polls that wait, in order of arrival. */
export interface LongPolls<T> {
  /** What there is, as soon as there is something; nothing after `timeoutMs`. */
  wait(queues: readonly string[], maxBatchSize: number, timeoutMs: number): Promise<T[]>;
  /** To be called when a queue may have something to take. */
  offer(queue: string): void;
  /** Ends every wait with nothing. */
  reset(): void;
}

interface Waiter<T> {
  readonly queues: readonly string[];
  readonly maxBatchSize: number;
  finish(batch: T[]): void;
}

export function createLongPolls<T>(
  clock: Clock,
  take: (queues: readonly string[], maxBatchSize: number) => T[],
): LongPolls<T> {
  const waitersByQueue = new Map<string, Set<Waiter<T>>>();

  function waitersOf(queue: string): Set<Waiter<T>> {
    const waiters = waitersByQueue.get(queue) ?? new Set();
    waitersByQueue.set(queue, waiters);
    return waiters;
  }

  return {
    wait(queues, maxBatchSize, timeoutMs) {
      const batch = take(queues, maxBatchSize);
      if (batch.length > 0) {
        return Promise.resolve(batch);
      }
      return new Promise((resolve) => {
        const cancelTimeout = runAt(clock, clock.now() + timeoutMs, () => waiter.finish([]));
        const waiter: Waiter<T> = {
          queues,
          maxBatchSize,
          finish(found) {
            cancelTimeout();
            for (const queue of queues) {
              waitersOf(queue).delete(waiter);
            }
            resolve(found);
          },
        };
        for (const queue of queues) {
          waitersOf(queue).add(waiter);
        }
      });
    },
    offer(queue) {
      for (const waiter of waitersByQueue.get(queue) ?? []) {
        const batch = take(waiter.queues, waiter.maxBatchSize);
        if (batch.length === 0) {
          return;
        }
        waiter.finish(batch);
      }
    },
    reset() {
      for (const waiters of waitersByQueue.values()) {
        for (const waiter of waiters) {
          waiter.finish([]);
        }
      }
      waitersByQueue.clear();
    },
  };
}
