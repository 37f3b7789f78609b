/** How much of something one peer may do. */
export interface RateBucket {
  /** Says that it has done so much more. Returns false when that is too much. */
  add(amount: number, nowMs: number): boolean;
}

/** Creates a bucket that holds what may be done in a minute, and drains in one. */
export function createRateBucket(maxPerMinute: number): RateBucket {
  let level = 0;
  let lastMs = 0;
  return {
    add(amount, nowMs) {
      const drained = ((nowMs - lastMs) / 60_000) * maxPerMinute;
      level = Math.max(0, level - drained) + amount;
      lastMs = nowMs;
      return level <= maxPerMinute;
    },
  };
}
