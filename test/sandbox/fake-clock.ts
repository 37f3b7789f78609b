import type { Clock } from "../../src/sandbox/clock.ts";

export interface FakeClock extends Clock {
  /** Lets time pass, timer by timer, each followed by whatever it set going. */
  advance(ms: number): Promise<void>;
  /** How many timers are set. */
  readonly pending: number;
}

/** Time that stands still until a test lets it pass. It begins at 2026-01-01T00:00:00Z. */
export function createFakeClock(): FakeClock {
  let nowMs = Date.UTC(2026, 0, 1);
  let made = 0;
  const timers = new Map<number, { atMs: number; run: () => void }>();

  function nextDue(untilMs: number): number | undefined {
    let next: number | undefined;
    for (const [id, { atMs }] of timers) {
      if (atMs <= untilMs && (next === undefined || atMs < (timers.get(next)?.atMs ?? 0))) {
        next = id;
      }
    }
    return next;
  }

  return {
    now: () => nowMs,
    setTimeout(run, delayMs) {
      const id = ++made;
      timers.set(id, { atMs: nowMs + Math.max(0, delayMs), run });
      return () => timers.delete(id);
    },
    async advance(ms) {
      const untilMs = nowMs + ms;
      await settle();
      for (let id = nextDue(untilMs); id !== undefined; id = nextDue(untilMs)) {
        const timer = timers.get(id);
        timers.delete(id);
        nowMs = Math.max(nowMs, timer?.atMs ?? nowMs);
        timer?.run();
        await settle();
      }
      nowMs = untilMs;
    },
    get pending() {
      return timers.size;
    },
  };
}

/** Lets every promise that can go on go on. */
async function settle(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}
