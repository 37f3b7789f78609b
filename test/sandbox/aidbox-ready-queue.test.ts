import fc from "fast-check";
import { expect, test } from "vitest";
import { createReadyQueue, type Queueable } from "../../src/sandbox/aidbox-ready-queue.ts";
import { createHeap } from "../../src/sandbox/heap.ts";

const item = (order: number, group = "") => ({ order, group });

test("a heap gives its items in order of rank", () => {
  fc.assert(
    fc.property(fc.array(fc.integer()), (numbers) => {
      const heap = createHeap<number>((each) => each);
      for (const each of numbers) {
        heap.push(each);
      }
      const popped = numbers.map(() => heap.pop());
      expect(popped).toEqual(numbers.toSorted((a, b) => a - b));
      expect(heap.pop()).toBeUndefined();
    }),
  );
});

test("items are handed out oldest first, and once", () => {
  const queue = createReadyQueue<Queueable>(() => Number.POSITIVE_INFINITY);
  const [a, b] = [item(1), item(2)];
  queue.add(b);
  queue.add(a);
  expect(queue.nextOrder()).toBe(1);
  expect(queue.take()).toBe(a);
  expect(queue.take()).toBe(b);
  expect(queue.take()).toBeUndefined();
});

test("an item that is no longer ready is passed over", () => {
  const queue = createReadyQueue<Queueable>(() => Number.POSITIVE_INFINITY);
  const [a, b] = [item(1), item(2)];
  queue.add(a);
  queue.add(b);
  a.order = 0;
  expect(queue.take()).toBe(b);
});

test("the limit counts per group, and what comes back lets the next one in", () => {
  const queue = createReadyQueue<Queueable>(() => 1);
  const [a1, a2, b1] = [item(1, "a"), item(2, "a"), item(3, "b")];
  for (const each of [a1, a2, b1]) {
    queue.add(each);
  }
  expect(queue.take()).toBe(a1);
  expect(queue.take()).toBe(b1);
  expect(queue.take()).toBeUndefined();
  queue.release("a");
  expect(queue.take()).toBe(a2);
});

test("an item that leaves while it is let in passes its place on", () => {
  const queue = createReadyQueue<Queueable>(() => 1);
  const [a, b, c] = [item(1), item(2), item(3)];
  for (const each of [a, b, c]) {
    queue.add(each);
  }
  queue.take();
  expect(queue.take()).toBeUndefined();
  queue.release("");
  b.order = 0;
  expect(queue.take()).toBe(c);
});

test("a higher limit lets in what waits", () => {
  let limit = 1;
  const queue = createReadyQueue<Queueable>(() => limit);
  const items = [item(1), item(2), item(3)];
  for (const each of items) {
    queue.add(each);
  }
  queue.take();
  expect(queue.take()).toBeUndefined();
  limit = 3;
  queue.limitChanged();
  expect([queue.take(), queue.take()]).toEqual(items.slice(1));
});

test("whatever happens, no group is above its limit and nothing is held back without a reason", () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant("add" as const), group: fc.constantFrom("a", "b") }),
    fc.record({ kind: fc.constant("take" as const) }),
    fc.record({ kind: fc.constant("release" as const), at: fc.nat() }),
    fc.record({ kind: fc.constant("withdraw" as const), at: fc.nat() }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const queue = createReadyQueue<Queueable>(() => 2);
      const waiting: Queueable[] = [];
      const out: Queueable[] = [];
      let order = 0;
      const isFree = (group: string) => out.filter((each) => each.group === group).length < 2;
      for (const each of steps) {
        if (each.kind === "add") {
          const fresh = item(++order, each.group);
          waiting.push(fresh);
          queue.add(fresh);
        } else if (each.kind === "take") {
          const expected = waiting.find(({ group }) => isFree(group));
          expect(queue.take()).toBe(expected);
          if (expected === undefined) {
            continue;
          }
          waiting.splice(waiting.indexOf(expected), 1);
          out.push(expected);
        } else if (each.kind === "release" && out.length > 0) {
          const [released] = out.splice(each.at % out.length, 1);
          queue.release(released?.group ?? "");
        } else if (each.kind === "withdraw" && waiting.length > 0) {
          const [withdrawn] = waiting.splice(each.at % waiting.length, 1);
          if (withdrawn) {
            withdrawn.order = 0;
          }
        }
      }
    }),
  );
});
