/**
 * Notices that the gateway stood still, or that its clock jumped: since the last call
 * either clock moved on by more than a second, or the two did not move alike. Then what
 * silence there was proves nothing.
 *
 * @param steadyNow a clock that nobody sets, in milliseconds
 * @param now the wall clock, in milliseconds
 */
export function createPauseDetector(steadyNow: () => number, now: () => number) {
  let lastSteadyMs = steadyNow();
  let lastMs = now();
  return {
    wasPaused(): boolean {
      const steadyMs = steadyNow() - lastSteadyMs;
      const wallMs = now() - lastMs;
      lastSteadyMs += steadyMs;
      lastMs += wallMs;
      return steadyMs > maxPauseMs || Math.abs(wallMs - steadyMs) > maxPauseMs;
    },
  };
}

const maxPauseMs = 1000;
