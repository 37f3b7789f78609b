import { expect, test } from "vitest";
import { maxRetryAfterMs, parseRetryAfter } from "../../src/upstream/retry-after.ts";

const nowMs = Date.UTC(2026, 0, 31, 23, 59, 30);

test("the longest wait is ten minutes", () => {
  expect(maxRetryAfterMs).toBe(600_000);
});

test.each([
  ["1", 1000],
  ["30", 30_000],
  ["  30\t", 30_000],
  ["007", 7000],
  ["599", 599_000],
  ["600", 600_000],
  ["601", 600_000],
  ["86400", 600_000],
  ["9".repeat(400), 600_000],
])("%s seconds are a wait of %i ms", (header, waitMs) => {
  expect(parseRetryAfter(header, nowMs)).toBe(waitMs);
});

test.each([
  ["Sat, 31 Jan 2026 23:59:31 GMT", 1000],
  ["Sun, 01 Feb 2026 00:01:00 GMT", 90_000],
  [" Sun, 01 Feb 2026 00:01:00 GMT ", 90_000],
  ["Sunday, 01-Feb-26 00:01:00 GMT", 90_000],
  ["Sun Feb  1 00:01:00 2026", 90_000],
  ["Fri, 31 Dec 2027 00:00:00 GMT", 600_000],
  ["Fri, 31 Dec 9999 23:59:59 GMT", 600_000],
])("the date %s is a wait of %i ms", (header, waitMs) => {
  expect(parseRetryAfter(header, nowMs)).toBe(waitMs);
});

test("a date that is a moment ahead is a wait of that moment", () => {
  expect(parseRetryAfter("Sat, 31 Jan 2026 23:59:31 GMT", nowMs + 999)).toBe(1);
});

test.each([
  [undefined],
  [""],
  ["  "],
  ["0"],
  ["-1"],
  ["+1"],
  ["1.5"],
  ["1e3"],
  ["0x10"],
  ["1_000"],
  ["5s"],
  ["5, 6"],
  ["5 6"],
  ["\u0665"],
  ["abc"],
  ["Infinity"],
  ["NaN"],
  ["Sat, 31 Jan 2026 23:59:30 GMT"],
  ["Sat, 31 Jan 2026 23:59:29 GMT"],
  ["Sun, 06 Nov 1994 08:49:37 GMT"],
  ["Mon"],
  ["Mon 99999"],
  ["Monday is fun 2099"],
  ["Sat,01Jan2099"],
  ["Sun, 01 Foo 2099 00:00:00 GMT"],
  ["Sun, 01 Feb 2099"],
  ["Sun, 01 Feb 2099 25:00:00 GMT"],
  ["Sun, 01 Feb 2099 00:01:00 +0100"],
  ["Sun, 01 Feb 2099 00:01:00 GMT, 5"],
  ["2099-02-01T00:01:00Z"],
])("%j is no wait", (header) => {
  expect(parseRetryAfter(header, nowMs)).toBeUndefined();
});
