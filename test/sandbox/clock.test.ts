import { expect, test } from "vitest";
import { ownClock, runAt, systemClock } from "../../src/sandbox/clock.ts";
import { createFakeClock } from "./fake-clock.ts";

test("an owned clock forgets the timers set through it and no others", async () => {
  const fake = createFakeClock();
  const owned = ownClock(fake);
  const ran: string[] = [];
  owned.setTimeout(() => ran.push("owned"), 10);
  fake.setTimeout(() => ran.push("other"), 10);
  owned.cancelAll();
  await fake.advance(20);
  expect(ran).toEqual(["other"]);
});

test("an owned clock runs a timer once and can cancel a single one", async () => {
  const fake = createFakeClock();
  const owned = ownClock(fake);
  const ran: string[] = [];
  owned.setTimeout(() => ran.push("kept"), 10);
  owned.setTimeout(() => ran.push("cancelled"), 10)();
  await fake.advance(100);
  expect(ran).toEqual(["kept"]);
});

test("runAt waits for months, past the longest timer of Node", async () => {
  const fake = createFakeClock();
  const dayMs = 86_400_000;
  let ran = false;
  runAt(fake, fake.now() + 60 * dayMs, () => {
    ran = true;
  });
  await fake.advance(60 * dayMs - 1);
  expect(ran).toBe(false);
  await fake.advance(1);
  expect(ran).toBe(true);
});

test("runAt can be cancelled in the middle of a long wait", async () => {
  const fake = createFakeClock();
  const dayMs = 86_400_000;
  const cancel = runAt(fake, fake.now() + 60 * dayMs, () => expect.unreachable());
  await fake.advance(30 * dayMs);
  cancel();
  await fake.advance(60 * dayMs);
  expect(fake.pending).toBe(0);
});

test("the system clock can cancel a timer", async () => {
  let ran = false;
  const cancel = systemClock.setTimeout(() => {
    ran = true;
  }, 0);
  cancel();
  await new Promise((resolve) => setTimeout(resolve, 5));
  expect(ran).toBe(false);
});
