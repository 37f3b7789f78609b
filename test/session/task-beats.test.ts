import { describe, expect, test } from "vitest";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import type { AttemptLease, CallResult } from "../../src/model/call-result.ts";
import { createFailure } from "../../src/model/failure.ts";
import { createTaskBeats } from "../../src/session/task-beats.ts";
import { settle, useFakeClock } from "../outbox/fake-clock.ts";

const attempt = (id: string) => ({ id, execId: "e" });

function useBeats() {
  const clock = useFakeClock();
  const calls: { text: string; answer: (result?: CallResult<AttemptLease>) => Promise<void> }[] = [];
  function called(text: string): Promise<CallResult<AttemptLease>> {
    const { promise, resolve } = Promise.withResolvers<CallResult<AttemptLease>>();
    calls.push({
      text,
      async answer(result = { kind: "ok", value: { leaseExpireMs: clock.now() + 120_000 } }) {
        resolve(result);
        await settle();
      },
    });
    return promise;
  }
  const beats = createTaskBeats({
    heartbeat: ({ id, message }) => called(`${id} beats ${message}`.trim()),
    progress: ({ id }, { current }) => called(`${id} at ${current}`),
    intervalMs: 10_000,
    now: clock.now,
    steadyNow: clock.now,
  });
  const progress = (id: string, current: bigint) =>
    beats.progress(attempt(id), { current, total: undefined, unit: "" });
  return { clock, beats, calls, progress, texts: () => calls.map(({ text }) => text) };
}

describe("what is passed on", () => {
  test("is one beat in an interval, and the last answer in between", async () => {
    const { clock, beats, calls, texts } = useBeats();
    const first = beats.beat(attempt("t"), "");
    const second = beats.beat(attempt("t"), "");
    await calls[0]?.answer();
    expect(await first).toBe(await second);
    expect(await beats.beat(attempt("t"), "")).toBe(await first);
    await clock.advance(9000);
    void beats.beat(attempt("t"), "");
    expect(texts()).toEqual(["t beats", "t beats"]);
  });

  test("is every message, and of several progresses that wait the latest", async () => {
    const { beats, calls, texts, progress } = useBeats();
    const said = [progress("t", 1n), progress("t", 2n), progress("t", 3n)];
    void beats.beat(attempt("t"), "hello");
    await calls[0]?.answer();
    await calls[1]?.answer();
    await calls[2]?.answer();
    expect(texts()).toEqual(["t at 1", "t beats hello", "t at 3"]);
    expect((await Promise.all(said)).map(({ kind }) => kind)).toEqual(["ok", "ok", "ok"]);
  });

  test("is tried again with the next beat after a failure", async () => {
    const { beats, calls, texts } = useBeats();
    const failed = beats.beat(attempt("t"), "");
    await calls[0]?.answer({
      kind: "failed",
      failure: createFailure(ErrorReason.UPSTREAM_UNAVAILABLE, "no"),
    });
    expect((await failed).kind).toBe("failed");
    void beats.beat(attempt("t"), "");
    expect(texts().length).toBe(2);
  });
});

describe("what is never sent", () => {
  test("more at a time than the upstream bears, nor a beat that is old when its turn comes", async () => {
    const { clock, beats, calls } = useBeats();
    const results = Array.from({ length: 40 }, (_, index) => beats.beat(attempt(`t${index}`), ""));
    expect(calls.length).toBe(32);
    await clock.advance(11_000);
    // Their workers may be dead by now.
    await Promise.all(calls.map(({ answer }) => answer()));
    expect(calls.length).toBe(32);
    expect((await Promise.all(results)).filter(({ kind }) => kind === "failed").length).toBe(8);
  });

  test("what waits for an attempt that is over", async () => {
    const { beats, calls, progress, texts } = useBeats();
    void progress("t", 1n);
    const waiting = progress("t", 2n);
    beats.forget(attempt("t"));
    await calls[0]?.answer();
    expect(texts()).toEqual(["t at 1"]);
    expect(await waiting).toMatchObject({ failure: { reason: ErrorReason.LEASE_EXPIRED } });
  });

  test("and what is not heard of any more is forgotten", async () => {
    const { clock, beats, calls } = useBeats();
    void beats.beat(attempt("old"), "");
    await calls[0]?.answer();
    await clock.advance(700_000);
    void beats.beat(attempt("new"), "");
    expect(beats.size).toBe(1);
  });
});
