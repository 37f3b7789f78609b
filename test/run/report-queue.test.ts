import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { callTimeoutMs, createReportQueue } from "../../src/run/report-queue.ts";
import type { Report, ReportAnswer } from "../../src/run/report-target.ts";
import { createFastClock } from "./fast-clock.ts";

const lost = new ConnectError("nobody there", Code.Unavailable);
const putOff = new ConnectError("full", Code.ResourceExhausted, { "taskgate-reason": "OUTBOX_FULL" });
putOff.details = [
  { desc: RetryInfoSchema, value: create(RetryInfoSchema, { retryDelay: { seconds: 7n, nanos: 0 } }) },
];
const refusal = new ConnectError("no", Code.FailedPrecondition, { "taskgate-reason": "TASK_FINISHED" });

function useQueue() {
  const clock = createFastClock();
  const told: string[] = [];
  let isPointless = false;
  const contact = { answered: () => told.push("answered"), failed: () => told.push("failed") };
  const queue = createReportQueue({
    clock,
    random: () => 0.5,
    contact,
    sessionId: () => "session",
    isPointless: () => isPointless,
  });
  const sent: string[] = [];
  /** A report whose calls end one after the other as given, and then well. */
  function report(what: string, kind: Report["kind"], ...ends: (ConnectError | ReportAnswer)[]): Report {
    return {
      what,
      kind,
      async send() {
        sent.push(what);
        await new Promise((resolve) => setImmediate(resolve));
        const end = ends.shift() ?? {};
        if (end instanceof ConnectError) {
          throw end;
        }
        return end;
      },
    };
  }
  return { clock, queue, sent, told, report, end: () => (isPointless = true) };
}

describe("reports", () => {
  test("leave one after the other, each until it is taken", async () => {
    const { queue, clock, sent, told, report } = useQueue();
    const results = [report("a", "other", lost, lost), report("b", "outcome")].map(queue.add);
    expect(await Promise.all(results)).toEqual([
      { kind: "sent", answer: {} },
      { kind: "sent", answer: {} },
    ]);
    expect(sent).toEqual(["a", "a", "a", "b"]);
    expect(clock.slept).toEqual([125, 250]);
    expect(told).toEqual(["failed", "failed", "answered", "answered"]);
  });

  test("go on without a session that is over", async () => {
    const { queue, report, clock } = useQueue();
    const sessions: string[] = [];
    const expired = new ConnectError("", Code.FailedPrecondition, { "taskgate-reason": "LEASE_EXPIRED" });
    const failing = report("end", "outcome", expired, expired);
    const result = await queue.add({
      ...failing,
      send(call) {
        sessions.push(call.sessionId);
        return failing.send(call);
      },
    });
    expect([sessions, clock.slept]).toEqual([["session", ""], []]);
    expect(result).toMatchObject({ kind: "refused", failure: { reason: "LEASE_EXPIRED" } });
  });

  test("wait as long as the gateway asks", async () => {
    const { queue, clock, report } = useQueue();
    await queue.add(report("a", "other", putOff));
    expect(clock.slept).toEqual([7000]);
  });

  test("that are refused make room", async () => {
    const { queue, report, sent } = useQueue();
    const results = [report("a", "other", refusal), report("b", "other")].map(queue.add);
    expect(await Promise.all(results)).toMatchObject([
      { kind: "refused", failure: { message: "no (TASK_FINISHED)" } },
      { kind: "sent" },
    ]);
    expect(sent).toEqual(["a", "b"]);
  });

  test("that are messages give way to newer ones, also between two attempts", async () => {
    const { queue, report, sent } = useQueue();
    const begin = queue.add(report("begin", "other", lost));
    const messages = ["1", "2", "3"].map((what) => queue.add(report(what, "message", lost)));
    await begin;
    const last = queue.add(report("4", "message"));
    expect((await Promise.all([...messages, last])).map(({ kind }) => kind)).toEqual([
      "dropped",
      "dropped",
      "dropped",
      "sent",
    ]);
    expect(sent).toEqual(["begin", "begin", "3", "4"]);
  });

  test("that are put off, once it hurries, make room for the outcome, which is tried on", async () => {
    const { queue, report, sent } = useQueue();
    queue.hurry(20_000, 60_000);
    const results = [
      // Nobody there is no reason to give up: soon all may be taken.
      report("log", "other", ...Array.from({ length: 20 }, () => lost), putOff),
      report("output", "other", putOff),
      report("end", "outcome", putOff, putOff, putOff, putOff),
    ].map(queue.add);
    expect((await Promise.all(results)).map(({ kind }) => kind)).toEqual(["gaveUp", "gaveUp", "sent"]);
    const count = (what: string) => sent.filter((other) => other === what).length;
    expect([count("log"), count("output"), count("end")]).toEqual([21, 1, 5]);
  });

  test("have as much time as there is, and the outcome has its own", async () => {
    const { queue, report, clock } = useQueue();
    const timeouts: number[] = [];
    const timed = (kind: Report["kind"]) => ({
      ...report("", kind),
      async send({ timeoutMs }: { timeoutMs: number }) {
        timeouts.push(timeoutMs);
        return {};
      },
    });
    await queue.add(timed("other"));
    queue.hurry(8000, 60_000);
    await queue.add(timed("other"));
    await clock.sleep(9000);
    await queue.add(timed("other"));
    await queue.add(timed("outcome"));
    expect(timeouts).toEqual([callTimeoutMs, 8000, 1000, callTimeoutMs]);
  });

  test("do not wait for their next attempt once it hurries", async () => {
    const { queue, report, clock } = useQueue();
    const result = queue.add(report("a", "other", ...Array.from({ length: 5 }, () => lost)));
    while (clock.slept.length < 3) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    queue.hurry(60_000, 60_000);
    await result;
    expect(clock.slept).toEqual([125, 250, 500, 125, 250]);
  });

  test("that are pending are asked for until they are not, and are sent even if that is given up", async () => {
    const { queue, report, sent } = useQueue();
    const answer = { isPending: true };
    expect(await queue.add(report("a", "outcome", answer, lost, answer))).toEqual({
      kind: "sent",
      answer: {},
    });
    expect(sent).toHaveLength(4);
    const last = report("b", "outcome", answer);
    const result = queue.add({
      ...last,
      async send(call) {
        const answered = await last.send(call);
        queue.giveUp();
        return answered;
      },
    });
    expect(await result).toEqual({ kind: "sent", answer });
  });

  test("are given up, with the reason, or never tried", async () => {
    const { queue, report, sent } = useQueue();
    const failing = report("a", "other", lost, lost);
    const results = [
      queue.add({
        ...failing,
        async send(call) {
          if (sent.length === 1) {
            queue.giveUp();
          }
          return failing.send(call);
        },
      }),
      queue.add(report("b", "outcome")),
    ];
    expect(await Promise.all(results)).toMatchObject([
      { kind: "gaveUp", failure: { message: "nobody there" } },
      { kind: "gaveUp", failure: undefined },
    ]);
    expect(sent).toEqual(["a", "a"]);
  });

  test("are dropped when nobody waits for them any more", async () => {
    const { queue, report, sent, end } = useQueue();
    end();
    expect(await queue.add(report("a", "outcome"))).toEqual({ kind: "dropped" });
    expect(sent).toEqual([]);
  });

  test.each([
    ["is stored", { isPending: true }],
    ["may be stored", lost],
  ])("that are the outcome and %s are asked for, for that may be why nobody waits", async (_, first) => {
    const { queue, report, sent, end } = useQueue();
    const outcome = report("a", "outcome", first, { isPending: true });
    const result = queue.add({
      ...outcome,
      send(call) {
        end();
        return outcome.send(call);
      },
    });
    expect(await result).toEqual({ kind: "sent", answer: {} });
    expect(sent).toHaveLength(3);
  });

  test("that are the outcome are not asked for longer than there is time", async () => {
    const { queue, report, clock } = useQueue();
    queue.hurry(3000, 6000);
    const outcome = report("a", "outcome", lost);
    const timeoutsMs: number[] = [];
    await queue.add({
      ...outcome,
      async send(call) {
        timeoutsMs.push(call.timeoutMs);
        await clock.sleep(2000);
        return outcome.send(call);
      },
    });
    const [first = 0, second = 0] = timeoutsMs;
    expect(first).toBe(6000);
    expect(second).toBeLessThanOrEqual(4000);
  });
});
