/** The time a sandbox lives by. Tests pass their own and drive it by hand. */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  now(): number;
  /** Runs `run` once, `delayMs` from now, unless the returned function is called first. */
  setTimeout(run: () => void, delayMs: number): () => void;
}

/** The machine's own time. */
export const systemClock: Clock = {
  now: Date.now,
  setTimeout(run, delayMs) {
    const timer = setTimeout(run, delayMs);
    return () => clearTimeout(timer);
  },
};

/** A clock that knows which of its timers are still to come, so that its owner can leave none behind. */
export interface OwnedClock extends Clock {
  /** Forgets every timer set through this clock. What waited for one of them waits for ever. */
  cancelAll(): void;
}

export function ownClock(clock: Clock): OwnedClock {
  const pending = new Set<() => void>();
  return {
    now: clock.now,
    setTimeout(run, delayMs) {
      const cancelTimer = clock.setTimeout(() => {
        pending.delete(cancel);
        run();
      }, delayMs);
      const cancel = () => {
        pending.delete(cancel);
        cancelTimer();
      };
      pending.add(cancel);
      return cancel;
    },
    cancelAll() {
      for (const cancel of pending) {
        cancel();
      }
    },
  };
}

export function sleep(clock: Clock, delayMs: number): Promise<void> {
  return new Promise((resolve) => clock.setTimeout(resolve, delayMs));
}

// Node runs a timer with a longer delay at once.
const longestTimerMs = 2 ** 31 - 1;

/** Runs `run` once at `atMs` (epoch milliseconds, however far away), unless the returned function is called first. */
export function runAt(clock: Clock, atMs: number, run: () => void): () => void {
  let cancel = wait();
  function wait(): () => void {
    const leftMs = Math.max(0, atMs - clock.now());
    if (leftMs <= longestTimerMs) {
      return clock.setTimeout(run, leftMs);
    }
    return clock.setTimeout(() => {
      cancel = wait();
    }, longestTimerMs);
  }
  return () => cancel();
}
