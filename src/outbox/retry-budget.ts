/** Spreads the retries of one origin, so that they never are more than a part of its load. */
export interface RetryBudget {
  /** An attempt was taken. */
  success(nowMs: number): void;
  /** How long the next retry must wait at least, for its place among the others. */
  reserve(nowMs: number): number;
}

const minPerSecond = 20;
const shareOfSuccesses = 0.5;
const windowMs = 10_000;

/**
 * Creates a budget: 20 retries a second, and half as many as there were successes
 * in the last ten seconds.
 */
export function createRetryBudget(): RetryBudget {
  let successes = 0;
  let decayedMs = 0;
  let nextMs = 0;

  function decay(nowMs: number): void {
    const elapsedMs = Math.max(0, nowMs - decayedMs);
    successes *= Math.exp(-elapsedMs / windowMs);
    decayedMs = nowMs;
  }

  return {
    success(nowMs) {
      decay(nowMs);
      successes += 1;
    },
    reserve(nowMs) {
      decay(nowMs);
      const perSecond = minPerSecond + (shareOfSuccesses * successes * 1000) / windowMs;
      // A clock that was set back leaves a place in the far future.
      const startMs = nextMs > nowMs + windowMs * 30 ? nowMs : Math.max(nowMs, nextMs);
      nextMs = startMs + 1000 / perSecond;
      return startMs - nowMs;
    },
  };
}
