import { describe, expect, test } from "vitest";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import type { AttemptFailure, AttemptResult } from "../../src/model/attempt-result.ts";
import { createFailure } from "../../src/model/failure.ts";
import { createCircuitBreaker } from "../../src/outbox/circuit-breaker.ts";
import { startMs } from "./use-store.ts";

const accepted: AttemptResult = { kind: "accepted", answer: "" };
function failed(kind: AttemptFailure["kind"], retryAfterMs?: number): AttemptResult {
  const options = retryAfterMs === undefined ? {} : { retryAfterMs };
  return { kind, failure: createFailure(ErrorReason.UPSTREAM_UNAVAILABLE, "no", options) };
}
const everything = Number.POSITIVE_INFINITY;

function openBreaker(random = 1) {
  const breaker = createCircuitBreaker(() => random);
  for (let failure = 0; failure < 5; failure += 1) {
    breaker.record(failed("unavailable"), startMs);
  }
  return breaker;
}

/** Lets one attempt through and fails it. */
function failProbe(breaker: ReturnType<typeof openBreaker>, nowMs: number): void {
  breaker.began(1);
  breaker.record(failed("inDoubt"), nowMs);
}

describe("a circuit breaker", () => {
  test.for(["unavailable", "unauthorized", "inDoubt"] as const)("opens after five in a row: %s", (kind) => {
    const breaker = createCircuitBreaker(() => 1);
    for (let failure = 0; failure < 4; failure += 1) {
      breaker.record(failed(kind), startMs);
      expect(breaker.allowance(startMs)).toBe(everything);
    }
    breaker.record(failed(kind), startMs);
    expect(breaker.allowance(startMs)).toBe(0);
    expect(breaker.delayMs(startMs)).toBe(1000);
  });

  test.for(["rejected", "unconfirmed", "tooEarly"] as const)(
    "takes an answer as a sign of life: %s",
    (kind) => {
      const breaker = createCircuitBreaker(() => 1);
      for (let failure = 0; failure < 30; failure += 1) {
        breaker.record(failed(failure % 5 === 4 ? kind : "unavailable"), startMs);
      }
      expect(breaker.allowance(startMs)).toBe(everything);
    },
  );

  test("opens at once when the upstream asks to wait, and as long as it asks", () => {
    const breaker = createCircuitBreaker(() => 1);
    breaker.record(failed("unavailable", 20_000), startMs);
    expect(breaker.delayMs(startMs)).toBe(20_000);
    expect(breaker.allowance(startMs + 19_999)).toBe(0);
    expect(breaker.allowance(startMs + 20_000)).toBe(1);
  });

  test("waits no longer than is reasonable, whatever the upstream asks for", () => {
    const breaker = createCircuitBreaker(() => 1);
    breaker.record(failed("unavailable", 86_400_000), startMs);
    expect(breaker.delayMs(startMs)).toBe(30_000);
  });

  test("lets one attempt through, and all once it was taken", () => {
    const breaker = openBreaker();
    expect(breaker.allowance(startMs + 1000)).toBe(1);
    breaker.began(1);
    expect(breaker.allowance(startMs + 1000)).toBe(0);
    breaker.record(accepted, startMs + 1001);
    expect(breaker.allowance(startMs + 1001)).toBe(everything);
    expect(breaker.delayMs(startMs + 1001)).toBe(0);
  });

  test("waits twice as long after each attempt that failed, up to 30 seconds", () => {
    const breaker = openBreaker();
    let nowMs = startMs;
    const waits: number[] = [];
    for (let probe = 0; probe < 7; probe += 1) {
      waits.push(breaker.delayMs(nowMs));
      nowMs += breaker.delayMs(nowMs);
      failProbe(breaker, nowMs);
    }
    expect(waits).toEqual([1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
  });

  test("waits between half of it and all of it, so that many gateways do not come at once", () => {
    expect(openBreaker(0).delayMs(startMs)).toBe(500);
    expect(openBreaker(0.5).delayMs(startMs)).toBe(750);
  });

  test("does not wait for years when the clock was set back", () => {
    const breaker = openBreaker();
    const tenYearsMs = 10 * 365 * 86_400_000;
    expect(breaker.allowance(startMs - tenYearsMs)).toBe(1);
  });

  test("lets one through at once when its gateway ends, and then every second", () => {
    const breaker = openBreaker();
    let nowMs = startMs;
    for (let probe = 0; probe < 6; probe += 1) {
      nowMs += breaker.delayMs(nowMs);
      failProbe(breaker, nowMs);
    }
    expect(breaker.delayMs(nowMs)).toBe(30_000);
    breaker.hurry(nowMs + 25_000);
    expect(breaker.allowance(nowMs)).toBe(1);
    const waits: number[] = [];
    for (let probe = 0; probe < 3; probe += 1) {
      failProbe(breaker, nowMs);
      waits.push(breaker.delayMs(nowMs));
      nowMs += breaker.delayMs(nowMs);
    }
    expect(waits).toEqual([1000, 1000, 1000]);
  });

  test.for([
    [5000, 5000, 5000],
    [26_000, 0, 1000],
  ] as const)(
    "asked to wait %i ms, it waits %i ms, and then %i ms, when it ends in 25 s",
    ([askedMs, firstMs, thenMs]) => {
      const breaker = createCircuitBreaker(() => 1);
      breaker.record(failed("unavailable", askedMs), startMs);
      breaker.hurry(startMs + 25_000);
      expect(breaker.delayMs(startMs)).toBe(firstMs);
      breaker.began(1);
      breaker.record(failed("unavailable", askedMs), startMs);
      expect(breaker.delayMs(startMs)).toBe(thenMs);
    },
  );

  test("is not kept open by attempts that began before it opened", () => {
    const breaker = openBreaker();
    for (let late = 0; late < 20; late += 1) {
      breaker.record(failed("inDoubt"), startMs + 500);
    }
    expect(breaker.allowance(startMs + 1000)).toBe(1);
  });
});
