import { expect, test } from "vitest";
import { createInFlight, createRequestLog } from "../../src/sandbox/request-log.ts";

const head = { atMs: 0, method: "POST", path: "/", headers: {}, rawHeaders: [] };

test("the newest requests are kept, in order", () => {
  const log = createRequestLog(100);
  for (let made = 0; made < 1000; made++) {
    log.begin(head);
  }
  expect(log.entries.length).toBeGreaterThanOrEqual(100);
  expect(log.entries.length).toBeLessThanOrEqual(111);
  expect(log.entries.at(-1)?.seq).toBe(1000);
  expect(log.entries.map(({ seq }) => seq)).toEqual(
    log.entries.map((_, index) => 1001 - log.entries.length + index),
  );
});

test("large bodies push old requests out", () => {
  const log = createRequestLog(1000, 50);
  for (let made = 0; made < 20; made++) {
    log.keepBody(log.begin(head), "x".repeat(10));
  }
  const chars = log.entries.reduce((sum, { body }) => sum + body.length, 0);
  expect(chars).toBeLessThanOrEqual(50);
  expect(log.entries.at(-1)?.seq).toBe(20);
});

test("clearing forgets everything, but not how many there were", () => {
  const log = createRequestLog();
  const cleared = log.begin(head);
  log.clear();
  log.keepBody(cleared, "late");
  expect(log.entries).toEqual([]);
  expect(log.begin(head).seq).toBe(2);
});

test("what is in flight is counted by key", () => {
  const inFlight = createInFlight();
  const first = inFlight.enter("a");
  expect(first.before).toBe(0);
  expect(inFlight.enter("b").before).toBe(0);
  const second = inFlight.enter("a");
  expect(second.before).toBe(1);
  first.leave();
  second.leave();
  expect(inFlight.enter("a").before).toBe(0);
});
