/** Time, as it is passed in. */
export interface Clock {
  /** A clock that never jumps. */
  nowMs: () => number;
  /** Resolves after the time, or as soon as the signal aborts. */
  sleep: (ms: number, signal?: AbortSignal) => Promise<void>;
}
