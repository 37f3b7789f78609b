import { toBinary } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import { DeliveryState, FailureSchema } from "../../gen/taskgate/v1/receipt_pb.ts";
import { createFailure } from "../../src/model/failure.ts";
import { createDeliveryWaiters } from "../../src/outbox/delivery-waiters.ts";
import type { DeliveryRow } from "../../src/outbox/store.ts";
import { useFakeClock } from "./fake-clock.ts";
import { newReport, someFailure, useStore } from "./use-store.ts";

function useWaiters() {
  const clock = useFakeClock();
  const row = useStore().accept(newReport("status", "a", "x"));
  const waiters = createDeliveryWaiters(clock);
  const ended: DeliveryRow = { ...row, state: DeliveryState.DELIVERED };
  return { clock, row, waiters, ended };
}

test("a wait ends when the delivery has ended, and all who wait are told", async () => {
  const { clock, row, waiters, ended } = useWaiters();
  const waits = [waiters.wait(row, 1000), waiters.wait(row, 2000)];
  waiters.tell(ended);
  await expect(Promise.all(waits)).resolves.toEqual([ended, ended]);
  expect(clock.pending).toBe(0);
});

test("a wait ends with the last that is known when its time is up", async () => {
  const { clock, row, waiters } = useWaiters();
  const wait = waiters.wait(row, 1000);
  const failed = { ...row, attempts: 2, failure: someFailure };
  waiters.tell(failed);
  await clock.advance(999);
  expect(clock.pending).toBe(1);
  await clock.advance(1);
  await expect(wait).resolves.toEqual(failed);
});

test("a wait ends when the upstream refuses our credentials, which no waiting mends", async () => {
  const { row, waiters } = useWaiters();
  const failure = toBinary(FailureSchema, createFailure(ErrorReason.UPSTREAM_AUTH, "no"));
  const wait = waiters.wait(row, 1000);
  waiters.tell({ ...row, failure });
  await expect(wait).resolves.toMatchObject({ state: DeliveryState.STORED, failure });
});

describe("where the upstream of a lane refuses our credentials", () => {
  const refusal = createFailure(ErrorReason.UPSTREAM_AUTH, "no");
  const told = { state: DeliveryState.STORED, failure: toBinary(FailureSchema, refusal) };

  test("nobody waits for what has not left, nor for what waits for its next attempt", async () => {
    const { row, waiters } = useWaiters();
    const tried = { ...row, seq: row.seq + 1, attempts: 1, failure: someFailure };
    const waits = [waiters.wait(row, 1000, undefined, "lane"), waiters.wait(tried, 1000, undefined, "lane")];
    waiters.refuse("lane", refusal);
    await expect(Promise.all(waits)).resolves.toMatchObject([told, told]);
    await expect(waiters.wait(row, 1000, undefined, "lane")).resolves.toMatchObject(told);
  });

  test("a first attempt is waited for, however it ends", async () => {
    const { clock, row, waiters } = useWaiters();
    const sent = { ...row, attempts: 1 };
    const wait = waiters.wait(sent, 1000, undefined, "lane");
    waiters.refuse("lane", refusal);
    const late = waiters.wait(sent, 1000, undefined, "lane");
    await clock.advance(999);
    expect(clock.pending).toBe(2);
    waiters.tell({ ...sent, failure: someFailure });
    await expect(Promise.all([wait, late])).resolves.toMatchObject([told, told]);
  });

  test("other lanes are waited for, and this one is once it refuses them no more", async () => {
    const { clock, row, waiters } = useWaiters();
    waiters.refuse("lane", refusal);
    const other = waiters.wait(row, 1000, undefined, "other");
    waiters.refuse("lane", undefined);
    const own = waiters.wait(row, 1000, undefined, "lane");
    await clock.advance(999);
    expect(clock.pending).toBe(2);
    await clock.advance(1);
    await expect(Promise.all([other, own])).resolves.toEqual([row, row]);
  });
});

test("what has ended is remembered, and of answers no more than a few megabytes", async () => {
  const { ended, waiters } = useWaiters();
  const answer = "x".repeat(3_000_000);
  const rows = Array.from({ length: 50 }, (_, index) => ({ ...ended, seq: 100 + index, answer }));
  rows.forEach(waiters.tell);
  const known = await Promise.all(
    rows.map((row) => waiters.wait({ ...row, state: DeliveryState.STORED }, 1000)),
  );
  expect(known.map(({ state }) => state)).toEqual(Array(50).fill(DeliveryState.DELIVERED));
  expect(known.map((row) => row.answer.length)).toEqual([...Array(49).fill(0), 3_000_000]);
  waiters.tell({ ...ended, seq: 200, answer: "x".repeat(8_000_000) });
  await expect(waiters.wait({ ...ended, seq: 200 }, 1000)).resolves.toMatchObject({ answer: "" });
});

test("a wait ends when its caller has gone", async () => {
  const { clock, row, waiters } = useWaiters();
  const gone = new AbortController();
  const wait = waiters.wait(row, 1000, gone.signal);
  gone.abort();
  await expect(wait).resolves.toEqual(row);
  expect(clock.pending).toBe(0);
});

test("nobody waits for what has ended, without time, or for a caller who has gone", async () => {
  const { clock, row, waiters, ended } = useWaiters();
  await expect(waiters.wait(ended, 1000)).resolves.toEqual(ended);
  await expect(waiters.wait(row, 0)).resolves.toEqual(row);
  await expect(waiters.wait(row, -5)).resolves.toEqual(row);
  await expect(waiters.wait(row, 1000, AbortSignal.abort())).resolves.toEqual(row);
  expect(clock.pending).toBe(0);
});

test("all waits can be ended, and none is told of another delivery", async () => {
  const { clock, row, waiters, ended } = useWaiters();
  const other = { ...row, seq: row.seq + 1 };
  const waits = [waiters.wait(row, 1000), waiters.wait(other, 1000)];
  waiters.tell({ ...ended, seq: row.seq + 2 });
  expect(clock.pending).toBe(2);
  waiters.releaseAll();
  await expect(Promise.all(waits)).resolves.toEqual([row, other]);
  expect(clock.pending).toBe(0);
});
