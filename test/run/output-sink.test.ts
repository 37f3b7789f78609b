import { expect, test } from "vitest";
import { createOutputSink } from "../../src/run/output-sink.ts";
import { createFastClock } from "./fast-clock.ts";

function useSink(...results: (number | string)[]) {
  let written = "";
  const clock = createFastClock();
  const sink = createOutputSink(async (bytes) => {
    const result = results.shift() ?? bytes.length;
    if (typeof result === "string") {
      throw Object.assign(new Error(result), { code: result });
    }
    written += bytes.subarray(0, result);
    return result;
  }, clock);
  return { sink, clock, written: () => written };
}

test("writes whole and in order, however little is taken at a time", async () => {
  const { sink, written } = useSink(1, 2, 1);
  const results = Promise.all([sink.write(Buffer.from("abcde")), sink.write(Buffer.from("fg\n"))]);
  expect(await results).toEqual([true, true]);
  expect(written()).toBe("abcdefg\n");
});

test("tries again where the pipe does not wait", async () => {
  const { sink, clock, written } = useSink("EAGAIN", 1, "EAGAIN");
  expect(await sink.write(Buffer.from("ab"))).toBe(true);
  expect([written(), clock.slept]).toEqual(["ab", [10, 10]]);
});

test("says when nobody reads any more", async () => {
  const { sink, written } = useSink(1, "EPIPE");
  expect(await sink.write(Buffer.from("ab"))).toBe(false);
  expect(await sink.write(Buffer.from("c"))).toBe(false);
  expect(written()).toBe("a");
});

test("our own lines are lines", async () => {
  const { sink, written } = useSink();
  sink.say("one");
  void sink.write(Buffer.from("part"));
  sink.say("two");
  sink.say("three");
  await sink.flushed();
  expect(written()).toBe("one\npart\ntwo\nthree\n");
});
