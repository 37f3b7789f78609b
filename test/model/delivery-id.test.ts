import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { createDeliveryIds } from "../../src/model/delivery-id.ts";

const start = 0x0189_abcd_ef01;
const ones = (size: number) => new Uint8Array(size).fill(0xff);
const zeros = (size: number) => new Uint8Array(size);

/** Reads the parts of a UUID of version 7. */
function partsOf(id: string): { ms: number; sequence: number } {
  const match = /^([0-9a-f]{8})-([0-9a-f]{4})-7([0-9a-f]{3})-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.exec(id);
  expect(match, `${id} is no UUID of version 7`).not.toBeNull();
  return {
    ms: Number.parseInt(`${match?.[1]}${match?.[2]}`, 16),
    sequence: Number.parseInt(match?.[3] ?? "", 16),
  };
}

function makeIds(count: number, now: () => number): string[] {
  // The random part falls, so that only time and sequence can make the ids rise.
  let next = 0xff;
  const createId = createDeliveryIds(now, (size) => {
    next = (next + 0xff) % 0x100;
    return new Uint8Array(size).fill(next);
  });
  return Array.from({ length: count }, createId);
}

test.each([
  ["only ones", ones, "0189abcd-ef01-7000-bfff-ffffffffffff"],
  ["only zeros", zeros, "0189abcd-ef01-7000-8000-000000000000"],
  [
    "one to eight",
    (size: number) => Uint8Array.from({ length: size }, (_, at) => at + 1),
    "0189abcd-ef01-7000-8102-030405060708",
  ],
])("an id is made of the time, version 7, the variant and the random bytes: %s", (_, random, id) => {
  expect(createDeliveryIds(() => start, random)()).toBe(id);
});

test("the time of an early clock is padded", () => {
  expect(createDeliveryIds(() => 1, zeros)()).toBe("00000000-0001-7000-8000-000000000000");
});

test("random bytes are asked for each time, and not changed where they came from", () => {
  const asked: number[] = [];
  const bytes = ones(8);
  const createId = createDeliveryIds(
    () => start,
    (size) => {
      asked.push(size);
      return bytes;
    },
  );
  createId();
  createId();
  expect(asked).toEqual([8, 8]);
  expect(bytes).toEqual(ones(8));
});

test("ids rise under a clock that stands, beyond 4096 in a millisecond", () => {
  const ids = makeIds(10_000, () => start);
  expect(ids).toEqual([...new Set(ids)].sort());
  expect(partsOf(ids[0] ?? "")).toEqual({ ms: start, sequence: 0 });
  expect(partsOf(ids[4095] ?? "")).toEqual({ ms: start, sequence: 4095 });
  expect(partsOf(ids[4096] ?? "")).toEqual({ ms: start + 1, sequence: 0 });
  expect(partsOf(ids[9999] ?? "")).toEqual({ ms: start + 2, sequence: 9999 - 2 * 4096 });
});

test("ids rise when the clock catches up with a time that was borrowed", () => {
  let now = start;
  const createId = createDeliveryIds(() => now, zeros);
  const ids = Array.from({ length: 4097 }, createId);
  now = start + 1;
  ids.push(createId());
  now = start + 2;
  ids.push(createId());
  expect(ids).toEqual([...new Set(ids)].sort());
  expect(ids.slice(-3).map(partsOf)).toEqual([
    { ms: start + 1, sequence: 0 },
    { ms: start + 1, sequence: 1 },
    { ms: start + 2, sequence: 0 },
  ]);
});

test("ids rise while the clock jumps back and forth", () => {
  const clock = [0, 5, -3_600_000, -3_600_000, 5, 6, 6, -1, 7, 1_000_000, 8].map((ms) => start + ms);
  let tick = 0;
  const ids = makeIds(clock.length, () => clock[tick++] ?? 0);
  expect(ids).toEqual([...new Set(ids)].sort());
  expect(ids.map(partsOf).map(({ ms }) => ms - start)).toEqual([
    0, 5, 5, 5, 5, 6, 6, 6, 7, 1_000_000, 1_000_000,
  ]);
});

test("ids rise under a clock that jumped back and stands there for more than 4096 of them", () => {
  let isFirst = true;
  const ids = makeIds(9000, () => {
    const ms = isFirst ? start : start - 60_000;
    isFirst = false;
    return ms;
  });
  expect(ids).toEqual([...new Set(ids)].sort());
  expect(partsOf(ids[8999] ?? "")).toEqual({ ms: start + 2, sequence: 8999 - 2 * 4096 });
});

test("two makers with one clock make different ids", () => {
  const makers = [createDeliveryIds(() => start, randomBytes), createDeliveryIds(() => start, randomBytes)];
  const ids = makers.flatMap((createId) => Array.from({ length: 1000 }, createId));
  expect(new Set(ids).size).toBe(2000);
});
