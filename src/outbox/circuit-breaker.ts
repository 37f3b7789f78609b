import type { AttemptResult } from "../model/attempt-result.ts";
import { maxDelayMs, retryAfterMs } from "./retry-policy.ts";

/**
 * Keeps attempts away from an origin that is in trouble: after five failures in a
 * row it lets one attempt through from time to time, until one is taken.
 */
export interface CircuitBreaker {
  /** Attempts are kept away, but for one from time to time. */
  readonly isOpen: boolean;
  /** How many attempts may begin now. */
  allowance(nowMs: number): number;
  /** How long until one may; 0: now. */
  delayMs(nowMs: number): number;
  /** Attempts have begun. */
  began(count: number): void;
  /** Lets one attempt through now, because an operator wants it. */
  tryNow(): void;
  /**
   * From now on it lets one through every second: the gateway ends at `endMs`, and what
   * has not left by then waits for the next one. What the upstream asked for stays, as
   * far as it is over before.
   */
  hurry(endMs: number): void;
  /** What came of one. */
  record(result: AttemptResult, nowMs: number): void;
}

const failuresToOpen = 5;
const minOpenMs = 1000;
const maxOpenMs = 30_000;

/** Creates a closed breaker. */
export function createCircuitBreaker(random: () => number): CircuitBreaker {
  let failures = 0;
  let openMs = 0;
  let untilMs = 0;
  let askedUntilMs = 0;
  let probes = 0;
  let hurryEndMs: number | undefined;

  function isOpen(): boolean {
    return openMs > 0;
  }
  function open(nowMs: number, askedMs: number): void {
    openMs = Math.min(hurryEndMs === undefined ? maxOpenMs : minOpenMs, Math.max(minOpenMs, openMs * 2));
    askedUntilMs = nowMs + askedMs;
    const atLeastMs = hurryEndMs === undefined || askedUntilMs < hurryEndMs ? askedMs : 0;
    untilMs = nowMs + Math.max(openMs * (0.5 + random() / 2), atLeastMs);
  }
  function delayMs(nowMs: number): number {
    // More than any delay: the clock was set back.
    return !isOpen() || untilMs > nowMs + maxDelayMs ? 0 : Math.max(0, untilMs - nowMs);
  }

  return {
    get isOpen() {
      return isOpen();
    },
    delayMs,
    allowance(nowMs) {
      if (!isOpen()) {
        return Number.POSITIVE_INFINITY;
      }
      return delayMs(nowMs) > 0 || probes > 0 ? 0 : 1;
    },
    began(count) {
      if (isOpen()) {
        probes += count;
      }
    },
    tryNow() {
      untilMs = 0;
      probes = 0;
    },
    hurry(endMs) {
      hurryEndMs = endMs;
      untilMs = Math.min(untilMs, askedUntilMs < endMs ? askedUntilMs : 0);
      probes = 0;
    },
    record(result, nowMs) {
      const wasProbe = probes > 0;
      probes = 0;
      if (!isTrouble(result)) {
        failures = 0;
        openMs = 0;
        return;
      }
      failures += 1;
      // One answer must not stop everything for longer than the breaker itself would;
      // the delivery that it was for waits as long as it says.
      const askedMs = Math.min(maxOpenMs, retryAfterMs(result.failure) ?? 0);
      if (wasProbe || (!isOpen() && (failures >= failuresToOpen || askedMs > 0))) {
        open(nowMs, askedMs);
      }
    },
  };
}

function isTrouble(result: AttemptResult): result is Exclude<AttemptResult, { kind: "accepted" }> {
  return result.kind === "unavailable" || result.kind === "unauthorized" || result.kind === "inDoubt";
}
