import { expect, test } from "vitest";
import { defaultLimits } from "../../src/model/limits.ts";

test("the largest payload and the largest log fit into the largest message, with room for the rest", () => {
  const roomBytes = 16 * 1024;
  expect(defaultLimits.maxPayloadBytes + roomBytes).toBeLessThanOrEqual(defaultLimits.maxMessageBytes);
  expect(defaultLimits.maxLogBytes + roomBytes).toBeLessThanOrEqual(defaultLimits.maxMessageBytes);
});

test("the default wait is one that a caller may ask for", () => {
  expect(defaultLimits.defaultWaitMs).toBeLessThanOrEqual(defaultLimits.maxWaitMs);
});
