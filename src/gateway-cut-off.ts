import type { Log } from "./model/log.ts";

// A flood must not become one of lines.
const quietMs = 10_000;

/** Tells of connections that limits have refused or ended: each reason at once, then in sums. */
export function logCutOff(
  log: Log,
  setTimer: (run: () => void, delayMs: number) => () => void,
): { tell(why: string): void; stop(): void } {
  const counts = new Map<string, number>();
  let cancel: (() => void) | undefined;

  function write(why: string, connections: number): void {
    log.warn(`connections were closed: ${why}`, { connections });
    counts.set(why, 0);
  }
  function tellSums(): void {
    cancel = undefined;
    for (const [why, connections] of counts) {
      if (connections > 0) {
        write(why, connections);
      } else {
        counts.delete(why);
      }
    }
    wait();
  }
  function wait(): void {
    if (counts.size > 0) {
      cancel ??= setTimer(tellSums, quietMs);
    }
  }

  return {
    tell(why) {
      const count = counts.get(why);
      if (count === undefined) {
        write(why, 1);
      } else {
        counts.set(why, count + 1);
      }
      wait();
    },
    stop: () => cancel?.(),
  };
}
