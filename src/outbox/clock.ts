/** Time, as it is passed in. */
export interface Clock {
  /** The wall clock. */
  now: () => number;
  /** Calls back once, `delayMs` later; returns how to prevent it. */
  setTimer: (run: () => void, delayMs: number) => () => void;
}
