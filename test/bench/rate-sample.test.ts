import { expect, test } from "vitest";
import { rateSampleOf } from "../../bench/rate-sample.ts";
import { formatThroughput, summarizeThroughput } from "../../bench/throughput-summary.ts";

const fair = { calls: 1000, elapsedMs: 1000, serverCpuMs: 950, clientCpuMs: 900 };
const clientBound = { calls: 5000, elapsedMs: 1000, serverCpuMs: 600, clientCpuMs: 950 };

test("a rate counts only where the client was not what was slow", () => {
  expect(rateSampleOf(1, "own", fair)).toMatchObject({ serverCpuUsPerCall: 950, isClientBound: false });
  expect(rateSampleOf(1, "own", clientBound)).toMatchObject({ serverCpuUsPerCall: 120, isClientBound: true });
  const samples = [
    rateSampleOf(1, "own", fair),
    rateSampleOf(1, "other", fair),
    rateSampleOf(2, "own", clientBound),
    rateSampleOf(2, "other", fair),
  ];
  const [own] = summarizeThroughput(samples, "other");
  expect(own).toMatchObject({ clientBoundRounds: 1, callsPerSecond: { max: 1000 }, callsRatio: { max: 1 } });
});

test("a row of which no round counts says so instead of a rate", () => {
  const summary = summarizeThroughput([rateSampleOf(1, "own", clientBound)], "own");
  expect(summary[0]?.callsRatio).toBeUndefined();
  expect(formatThroughput(summary, "message")).toMatch(/^own +client-bound +client-bound/m);
});
