import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { measureLatencies } from "../../bench/measure-latencies.ts";

test("at a fixed rate no call begins before it is due, and none waits for another", async () => {
  const beganMs: number[] = [];
  const startMs = performance.now();
  const latenciesMs = await measureLatencies({
    async call() {
      beganMs.push(performance.now() - startMs);
      await delay(50);
    },
    calls: 20,
    perSecond: 500,
  });
  expect(latenciesMs).toHaveLength(20);
  for (const [index, began] of beganMs.entries()) {
    expect(began).toBeGreaterThanOrEqual(index * 2);
  }
  // One after the other they would take twenty times as long as one.
  expect(beganMs.at(-1)).toBeLessThan(19 * 50);
});

test("a call that began late has waited since it was due", async () => {
  const latenciesMs = await measureLatencies({
    async call(index) {
      if (index === 0) {
        // Nothing else can run.
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
      }
    },
    calls: 2,
    perSecond: 1000,
  });
  expect(latenciesMs[1]).toBeGreaterThanOrEqual(90);
});
