import { createChurnMap } from "../model/churn-map.ts";

/** Does things one after the other, per key. */
export interface KeyOrder {
  /**
   * Runs when everything that came before under the same key has ended. Rejects with
   * the signal's reason, and does not run, when it aborts before its turn.
   */
  run<Result>(key: string, run: () => Promise<Result>, signal?: AbortSignal): Promise<Result>;
}

/** Creates an order. It remembers nothing of keys that are idle. */
export function createKeyOrder(): KeyOrder {
  const tails = createChurnMap<string, Promise<unknown>>();

  return {
    run(key, run, signal) {
      const before = tails.get(key);
      const turn =
        before === undefined
          ? run()
          : before.then(() => {
              signal?.throwIfAborted();
              return run();
            });
      function end(): void {
        if (tails.get(key) === tail) {
          tails.delete(key);
        }
      }
      const tail: Promise<void> = turn.then(end, end);
      tails.set(key, tail);
      return before === undefined || signal === undefined ? turn : unlessAborted(signal, before, turn);
    },
  };
}

// Waits for a turn; once it has come, the signal is the business of what runs then.
function unlessAborted<Result>(
  signal: AbortSignal,
  before: Promise<unknown>,
  turn: Promise<Result>,
): Promise<Result> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    void before.then(() => signal.removeEventListener("abort", onAbort));
    turn.then(resolve, reject);
  });
}
