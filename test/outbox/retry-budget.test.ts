import { expect, test } from "vitest";
import { createRetryBudget, type RetryBudget } from "../../src/outbox/retry-budget.ts";
import { startMs } from "./use-store.ts";

/** How many retries have their place within a second, if more want one than there are. */
function placesPerSecond(budget: RetryBudget, nowMs: number): number {
  const waits = Array.from({ length: 1000 }, () => budget.reserve(nowMs));
  return waits.filter((waitMs) => waitMs < 1000).length;
}

test("a retry that is alone does not wait", () => {
  const budget = createRetryBudget();
  expect([0, 1000, 2000].map((ms) => budget.reserve(startMs + ms))).toEqual([0, 0, 0]);
});

test("retries without a success have 20 places a second, one after the other", () => {
  const budget = createRetryBudget();
  expect([1, 2, 3, 4].map(() => Math.round(budget.reserve(startMs)))).toEqual([0, 50, 100, 150]);
  expect(placesPerSecond(createRetryBudget(), startMs)).toBe(20);
});

test("retries have half as many places more as there were successes", () => {
  const budget = createRetryBudget();
  for (let success = 0; success < 2000; success += 1) {
    budget.success(startMs);
  }
  expect(Math.abs(placesPerSecond(budget, startMs) - 120)).toBeLessThanOrEqual(1);
});

test("successes of long ago count no more", () => {
  const budget = createRetryBudget();
  for (let success = 0; success < 2000; success += 1) {
    budget.success(startMs);
  }
  expect(placesPerSecond(budget, startMs + 200_000)).toBe(20);
});

test("a clock that was set back by ten years does not make a retry wait for ten years", () => {
  const budget = createRetryBudget();
  budget.reserve(startMs);
  expect(budget.reserve(startMs - 10 * 365 * 86_400_000)).toBe(0);
});

test("a clock that jumps ahead makes no retry wait", () => {
  const budget = createRetryBudget();
  budget.success(startMs);
  budget.reserve(startMs);
  expect(budget.reserve(startMs + 365 * 86_400_000)).toBe(0);
});
