import { PassThrough } from "node:stream";
import { describe, expect, test } from "vitest";
import type { OutputSink } from "../../src/run/output-sink.ts";
import { drainPumps, startPump } from "../../src/run/pump.ts";
import { createFastClock } from "./fast-clock.ts";

function useSink(write: (bytes: Buffer) => Promise<boolean>): OutputSink {
  return { write, say: () => undefined, flushed: async () => undefined };
}

const never = new AbortController().signal;

describe("an output", () => {
  test("is carried no faster than it is taken", async () => {
    const source = new PassThrough({ highWaterMark: 4 });
    let take: (isRead: boolean) => void = () => undefined;
    const written: string[] = [];
    const sink = useSink((bytes) => {
      written.push(String(bytes));
      return new Promise((resolve) => {
        take = resolve;
      });
    });
    const pump = startPump(source, sink, () => undefined);
    source.write("abcd");
    await new Promise((resolve) => setImmediate(resolve));
    source.end("efgh");
    await new Promise((resolve) => setImmediate(resolve));
    expect([written, pump.isWriting(), pump.readBytes()]).toEqual([["abcd"], true, 4]);
    take(true);
    await new Promise((resolve) => setImmediate(resolve));
    expect(written).toEqual(["abcd", "efgh"]);
    take(true);
    await pump.ended;
    expect(pump.isWriting()).toBe(false);
  });

  test("is read no more when nobody reads it", async () => {
    const source = new PassThrough();
    const pump = startPump(
      source,
      useSink(async () => false),
      () => undefined,
    );
    source.write("a");
    await pump.ended;
    expect(source.destroyed).toBe(true);
  });
});

describe("the end of a command", () => {
  test("has come when its outputs have ended, at once", async () => {
    const source = new PassThrough();
    const pump = startPump(
      source,
      useSink(async () => true),
      () => undefined,
    );
    source.end("a");
    const clock = createFastClock();
    await drainPumps([pump], clock, never);
    expect(clock.slept.length).toBeLessThan(2);
    expect(pump.readBytes()).toBe(1);
  });

  test("has come when nothing more is in pipes that stay open", async () => {
    const source = new PassThrough();
    const pump = startPump(
      source,
      useSink(async () => true),
      () => undefined,
    );
    source.write("a");
    const clock = createFastClock();
    await drainPumps([pump], clock, never);
    expect([source.destroyed, clock.slept]).toEqual([true, [50, 50, 50]]);
  });

  test("has come although others go on printing, and is waited for while a reader is slow", async () => {
    const noisy = new PassThrough();
    const pump = startPump(
      noisy,
      useSink(async () => true),
      () => undefined,
    );
    const clock = createFastClock();
    const printing = setInterval(() => noisy.write("x"), 0);
    const noise = {
      ...clock,
      sleep: async (ms: number) => {
        noisy.write("x");
        await clock.sleep(ms);
      },
    };
    await drainPumps([pump], noise, never);
    clearInterval(printing);
    expect(clock.nowMs()).toBeGreaterThan(2000);
    expect(clock.nowMs()).toBeLessThan(2200);

    const slow = new PassThrough();
    const stuck = startPump(
      slow,
      useSink(() => new Promise(() => undefined)),
      () => undefined,
    );
    slow.write("x");
    await new Promise((resolve) => setImmediate(resolve));
    const tired = new AbortController();
    const slowClock = createFastClock();
    const drained = drainPumps(
      [stuck],
      {
        ...slowClock,
        nowMs: slowClock.nowMs,
        sleep: async (ms) => {
          await slowClock.sleep(ms);
          if (slowClock.nowMs() > 60_000) {
            tired.abort();
          }
        },
      },
      tired.signal,
    );
    await drained;
    expect(slowClock.nowMs()).toBeGreaterThan(60_000);
  });
});
