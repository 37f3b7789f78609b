import { setTimeout as delay, setImmediate as nextTurn } from "node:timers/promises";

// Timers know whole milliseconds only, and being late counts as latency.
const timerErrorMs = 2;

export interface LatenciesOptions {
  call: (index: number) => Promise<void>;
  calls: number;
  /** So many a second whether they are answered or not; undefined: one after the other. */
  perSecond: number | undefined;
}

/**
 * Makes calls and resolves with how long each took, in milliseconds. Where their rate is
 * fixed, from when each should have begun: a call that must wait because others are
 * slow has waited. Rejects with the first that fails.
 */
export function measureLatencies({ call, calls, perSecond }: LatenciesOptions): Promise<number[]> {
  return perSecond === undefined ? measureOneByOne(call, calls) : measureAtRate(call, calls, perSecond);
}

async function measureOneByOne(call: LatenciesOptions["call"], calls: number): Promise<number[]> {
  const latenciesMs: number[] = [];
  for (let index = 0; index < calls; index += 1) {
    const startMs = performance.now();
    await call(index);
    latenciesMs.push(performance.now() - startMs);
  }
  return latenciesMs;
}

async function measureAtRate(
  call: LatenciesOptions["call"],
  calls: number,
  perSecond: number,
): Promise<number[]> {
  const underWay: Promise<number>[] = [];
  const startMs = performance.now();
  const dueMs = (index: number) => startMs + (index * 1000) / perSecond;
  async function measure(index: number): Promise<number> {
    await call(index);
    return performance.now() - dueMs(index);
  }
  while (underWay.length < calls) {
    const index = underWay.length;
    const waitMs = dueMs(index) - performance.now();
    if (waitMs > 0) {
      await (waitMs < timerErrorMs ? nextTurn() : delay(waitMs - timerErrorMs));
      continue;
    }
    const measured = measure(index);
    measured.catch(() => undefined);
    underWay.push(measured);
  }
  return Promise.all(underWay);
}

/** The latency that so large a part of the calls did not exceed. */
export function percentile(latenciesMs: readonly number[], part: number): number {
  const sorted = latenciesMs.toSorted((a, b) => a - b);
  const value = sorted[Math.min(sorted.length - 1, Math.ceil(part * sorted.length) - 1)];
  if (value === undefined) {
    throw new Error("there is no latency");
  }
  return value;
}
