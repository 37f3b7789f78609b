import type { Clock } from "../../src/outbox/clock.ts";
import { startMs } from "./use-store.ts";

export interface FakeClock extends Clock {
  /** Lets time pass, timer by timer, each followed by whatever it set going. */
  advance(ms: number): Promise<void>;
  /** Sets the wall clock, without time passing. */
  jump(ms: number): void;
  /** Lets time pass in which nothing runs, as in a process that is stopped. */
  standStill(ms: number): void;
  /** A clock that nobody sets. */
  steadyNow(): number;
  /** How many timers are set. */
  readonly pending: number;
}

/** Time that stands still until a test lets it pass. */
export function useFakeClock(): FakeClock {
  let steadyMs = 0;
  let wallMs = startMs;
  let made = 0;
  const timers = new Map<number, { atMs: number; run: () => void }>();

  function nextDue(untilMs: number): [number, { atMs: number; run: () => void }] | undefined {
    const due = [...timers].filter(([, { atMs }]) => atMs <= untilMs);
    return due.sort(([, a], [, b]) => a.atMs - b.atMs)[0];
  }
  function passTo(untilMs: number): void {
    wallMs += untilMs - steadyMs;
    steadyMs = untilMs;
  }

  return {
    now: () => wallMs,
    setTimer(run, delayMs) {
      made += 1;
      const id = made;
      timers.set(id, { atMs: steadyMs + delayMs, run });
      return () => void timers.delete(id);
    },
    async advance(ms) {
      const untilMs = steadyMs + ms;
      await settle();
      for (let due = nextDue(untilMs); due !== undefined; due = nextDue(untilMs)) {
        const [id, { atMs, run }] = due;
        timers.delete(id);
        passTo(Math.max(steadyMs, atMs));
        run();
        await settle();
      }
      passTo(untilMs);
    },
    jump(ms) {
      wallMs += ms;
    },
    standStill(ms) {
      passTo(steadyMs + ms);
    },
    steadyNow: () => steadyMs,
    get pending() {
      return timers.size;
    },
  };
}

/** Lets every promise that can go on go on. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
