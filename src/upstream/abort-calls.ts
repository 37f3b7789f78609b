/** What is to be called when signals abort. */
export interface AbortCalls {
  /** Calls `onAbort` when the signal aborts, which it has not yet. */
  add(signal: AbortSignal, onAbort: () => void): void;
  /** Does not call it any more. */
  remove(signal: AbortSignal, onAbort: () => void): void;
}

/**
 * Creates an empty list. Each signal gets one listener for all its calls, and none
 * without one: a signal outlives any number of requests, and listeners of their own,
 * or entries of a `Set`, would keep all later ones in memory until the next full
 * collection, although they were removed.
 */
export function createAbortCalls(): AbortCalls {
  const bySignal = new WeakMap<AbortSignal, { calls: (() => void)[]; listener: () => void }>();
  return {
    add(signal, onAbort) {
      const known = bySignal.get(signal);
      if (known !== undefined) {
        known.calls.push(onAbort);
        return;
      }
      const calls = [onAbort];
      const listener = () => {
        for (const call of [...calls]) {
          call();
        }
      };
      bySignal.set(signal, { calls, listener });
      signal.addEventListener("abort", listener, { once: true });
    },
    remove(signal, onAbort) {
      const known = bySignal.get(signal);
      if (known === undefined) {
        return;
      }
      const { calls, listener } = known;
      const index = calls.indexOf(onAbort);
      if (index >= 0) {
        calls[index] = calls.at(-1) ?? onAbort;
        calls.pop();
      }
      if (calls.length === 0) {
        bySignal.delete(signal);
        signal.removeEventListener("abort", listener);
      }
    },
  };
}
