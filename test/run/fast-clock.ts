import type { Clock } from "../../src/run/clock.ts";

/** A clock on which a sleep takes no time but its own; `slept` are those that were slept to their end. */
export function createFastClock(): Clock & { slept: number[] } {
  let nowMs = 0;
  const slept: number[] = [];
  return {
    slept,
    nowMs: () => nowMs,
    async sleep(ms, signal) {
      await new Promise((resolve) => setImmediate(resolve));
      if (signal?.aborted !== true) {
        nowMs += ms;
        slept.push(ms);
      }
    },
  };
}
