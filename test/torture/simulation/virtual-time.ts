import type { Clock } from "../../../src/outbox/clock.ts";

/** Time that passes only when a simulation lets it. */
export interface VirtualTime {
  /** What has passed since the beginning. */
  readonly steadyMs: number;
  /** The wall clock, which jumps. */
  now(): number;
  jump(ms: number): void;
  /** A clock whose timers can all be cancelled at once, as by the end of a process. */
  createClock(): Clock & { cancelAll: () => void };
  /** Lets everything happen that is due, until a time or until nothing is left. */
  runUntil(steadyMs: number): Promise<void>;
}

interface Timer {
  atMs: number;
  number: number;
  run: () => void;
  isCancelled: boolean;
}

export function createVirtualTime(wallMs: number): VirtualTime {
  const heap: Timer[] = [];
  let steadyMs = 0;
  let offsetMs = wallMs;
  let made = 0;

  function isBefore(a: Timer | undefined, b: Timer | undefined): boolean {
    return a !== undefined && b !== undefined && (a.atMs - b.atMs || a.number - b.number) < 0;
  }
  function swap(a: number, b: number): void {
    const [first, second] = [heap[a], heap[b]];
    if (first !== undefined && second !== undefined) {
      heap[a] = second;
      heap[b] = first;
    }
  }
  function push(timer: Timer): void {
    heap.push(timer);
    for (let at = heap.length - 1; at > 0 && isBefore(heap[at], heap[(at - 1) >> 1]); at = (at - 1) >> 1) {
      swap(at, (at - 1) >> 1);
    }
  }
  function pop(): Timer | undefined {
    const [first] = heap;
    const last = heap.pop();
    if (heap.length > 0 && last !== undefined) {
      heap[0] = last;
      for (let at = 0; ; ) {
        const left = 2 * at + 1;
        const least = isBefore(heap[left + 1], heap[left]) ? left + 1 : left;
        if (!isBefore(heap[least], heap[at])) {
          break;
        }
        swap(at, least);
        at = least;
      }
    }
    return first;
  }

  return {
    get steadyMs() {
      return steadyMs;
    },
    now: () => Math.floor(offsetMs + steadyMs),
    jump(ms) {
      offsetMs += ms;
    },
    createClock() {
      const own = new Set<Timer>();
      return {
        now: () => Math.floor(offsetMs + steadyMs),
        setTimer(run, delayMs) {
          made += 1;
          const timer = { atMs: steadyMs + Math.max(0, delayMs), number: made, run, isCancelled: false };
          own.add(timer);
          push(timer);
          return () => {
            timer.isCancelled = true;
            own.delete(timer);
          };
        },
        cancelAll() {
          for (const timer of own) {
            timer.isCancelled = true;
          }
        },
      };
    },
    async runUntil(untilMs) {
      await settle();
      while (heap[0] !== undefined && heap[0].atMs <= untilMs) {
        const timer = pop();
        if (timer !== undefined && !timer.isCancelled) {
          steadyMs = timer.atMs;
          timer.run();
          await settle();
        }
      }
    },
  };
}

/** Lets every promise that can go on go on. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
