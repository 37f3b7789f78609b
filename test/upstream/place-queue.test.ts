import { expect, test } from "vitest";
import { createPlaceQueue } from "../../src/upstream/place-queue.ts";

/** Lets what was put off to the next microtask happen. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

test("those who come while there are places enter at once", () => {
  const queue = createPlaceQueue(2);
  const entered: string[] = [];
  for (const name of ["a", "b", "c"]) {
    queue.wait(() => entered.push(name));
  }
  expect(entered).toEqual(["a", "b"]);
});

test("those who wait enter in the order in which they came, one for each place that is given back", async () => {
  const queue = createPlaceQueue(1);
  const entered: string[] = [];
  for (const name of ["a", "b", "c", "d"]) {
    queue.wait(() => entered.push(name));
  }
  queue.leave();
  await settle();
  expect(entered).toEqual(["a", "b"]);
  queue.leave();
  queue.wait(() => entered.push("e"));
  await settle();
  queue.leave();
  await settle();
  expect(entered).toEqual(["a", "b", "c", "d"]);
});

test("who has stopped waiting never enters, and who has entered cannot stop waiting", async () => {
  const queue = createPlaceQueue(1);
  const entered: string[] = [];
  const stops = ["a", "b", "c"].map((name) => queue.wait(() => entered.push(name)));
  stops[0]?.();
  stops[1]?.();
  queue.leave();
  await settle();
  queue.leave();
  await settle();
  expect(entered).toEqual(["a", "c"]);
});

test("thousands who leave as soon as they have entered do not exhaust the stack", async () => {
  const queue = createPlaceQueue(1);
  let entered = 0;
  queue.wait(() => undefined);
  for (let count = 0; count < 50_000; count += 1) {
    queue.wait(() => {
      entered += 1;
      queue.leave();
    });
  }
  queue.leave();
  await settle();
  expect(entered).toBe(50_000);
});

test("who enters may make thousands of others wait, and none is forgotten", async () => {
  const queue = createPlaceQueue(1);
  const entered: number[] = [];
  function waitAs(name: number): void {
    queue.wait(() => {
      entered.push(name);
      if (name < 2000) {
        waitAs(name + 1);
      }
      queue.leave();
    });
  }
  waitAs(0);
  await expect.poll(() => entered.length).toBe(2001);
});
