import { expect, test } from "vitest";
import { createByteQueue } from "../../src/listener/byte-queue.ts";

const bytes = Buffer.from(Array.from({ length: 100_000 }, (_, index) => index % 251));

test.each([1, 7, 1000, 16 * 1024, 50_000])("bytes that come by %d are given as they came", (length) => {
  const queue = createByteQueue();
  for (let start = 0; start < bytes.length; start += length) {
    queue.add(bytes.subarray(start, start + length));
  }
  expect(queue.size).toBe(bytes.length);
  expect(queue.peek(5)).toEqual(bytes.subarray(0, 5));
  expect(queue.take(5)).toEqual(bytes.subarray(0, 5));
  expect(queue.take(60_000)).toEqual(bytes.subarray(5, 60_005));
  queue.add(Buffer.from("end"));
  expect(queue.take(queue.size)).toEqual(Buffer.concat([bytes.subarray(60_005), Buffer.from("end")]));
  expect([queue.size, queue.pieces]).toEqual([0, 0]);
});

test("bytes that come one by one are kept in few pieces, and large chunks as they came", () => {
  const queue = createByteQueue();
  for (let index = 0; index < bytes.length; index += 1) {
    queue.add(bytes.subarray(index, index + 1));
  }
  expect(queue.pieces).toBeLessThan(30);
  queue.clear();
  expect(queue.size).toBe(0);
  for (let count = 0; count < 10; count += 1) {
    queue.add(bytes.subarray(0, 16 * 1024));
  }
  expect(queue.pieces).toBe(10);
});
