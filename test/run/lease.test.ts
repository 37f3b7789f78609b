import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import { Directive } from "../../gen/taskgate/v1/session_pb.ts";
import { keepLease } from "../../src/run/lease.ts";
import type { Beat, Order } from "../../src/run/report-target.ts";
import { createFastClock } from "./fast-clock.ts";

const going: Beat = {
  directive: Directive.CONTINUE,
  cause: ErrorReason.UNSPECIFIED,
  sessionId: "s",
  leaseDurationMs: 30_000,
  nextHeartbeatMs: 9000,
};
const lost = new ConnectError("nobody there", Code.Unavailable);

/** Keeps a lease through these answers; the last one is followed by silence. */
async function keepThrough(...answers: (Partial<Beat> | ConnectError)[]) {
  const clock = createFastClock();
  const told: string[] = [];
  const orders: Order[] = [];
  const sessions: string[] = [];
  let beats = 0;
  const lease = keepLease({
    async beat({ sessionId }) {
      sessions.push(sessionId);
      const answer = answers[beats];
      beats += 1;
      if (answer === undefined) {
        return new Promise(() => undefined);
      }
      if (answer instanceof ConnectError) {
        throw answer;
      }
      return { ...going, ...answer };
    },
    clock,
    random: () => 1,
    contact: { answered: () => undefined, failed: () => undefined },
    tell: (line) => told.push(line),
    onCancel: (order) => orders.push(order),
  });
  for (let turn = 0; turn < answers.length + 2; turn += 1) {
    await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setImmediate(resolve));
  }
  return { clock, told, orders, sessions, lease };
}

describe("a lease", () => {
  test("is opened without a session, and renewed in the time that the gateway says", async () => {
    const { sessions, clock, lease } = await keepThrough(
      {},
      { nextHeartbeatMs: 5000 },
      { nextHeartbeatMs: 0 },
    );
    expect(sessions).toEqual(["", "s", "s", "s"]);
    expect(clock.slept).toEqual([9000, 5000, 10_000]);
    expect(lease.sessionId()).toBe("s");
  });

  test("is tried again soon while the gateway does not answer, and a whole lease of silence is told once", async () => {
    const outage = Array.from({ length: 14 }, () => lost);
    const { clock, told } = await keepThrough({}, ...outage, {}, ...outage);
    expect(clock.slept.slice(0, 8)).toEqual([9000, 250, 500, 1000, 2000, 4000, 5000, 5000]);
    const line = "no heartbeat was answered for 30 s: the command may have been reported as lost; it goes on";
    expect(told).toEqual([line, line]);
  });

  test("nothing is told of a lease that there never was", async () => {
    expect((await keepThrough(...Array.from({ length: 20 }, () => lost))).told).toEqual([]);
  });

  test("is opened anew, at once, when the gateway does not know it, but not for ever", async () => {
    const again = { directive: Directive.RECONNECT };
    const { sessions, clock } = await keepThrough({}, again, { sessionId: "t" }, again, again, again);
    expect(sessions).toEqual(["", "s", "", "t", "", "", ""]);
    expect(clock.slept).toEqual([9000, 0, 9000, 0, 9000, 9000]);
  });

  test("goes on while the gateway drains, or has no room", async () => {
    const full = new ConnectError("full", Code.ResourceExhausted, { "taskgate-reason": "TOO_MANY_SESSIONS" });
    const { sessions, told } = await keepThrough({ directive: Directive.DRAIN }, full, {});
    expect([sessions.length, told]).toEqual([4, []]);
  });

  test("ends with the order to cancel", async () => {
    const cancel = { directive: Directive.CANCEL, cause: ErrorReason.LEASE_SUPERSEDED };
    const { sessions, orders } = await keepThrough({}, cancel, {});
    expect([sessions.length, orders]).toMatchObject([2, [cancel]]);
  });

  test("is not there where the gateway keeps none, or refuses", async () => {
    const none = await keepThrough(new ConnectError("not yet", Code.Unimplemented), {});
    expect([none.sessions.length, none.told]).toEqual([1, [expect.stringContaining("keeps no leases")]]);
    const refused = await keepThrough(new ConnectError("who", Code.PermissionDenied), {});
    expect([refused.sessions.length, refused.told]).toEqual([
      1,
      ["the heartbeat was refused, and there are no more: who"],
    ]);
  });

  test("is left alone once it is stopped", async () => {
    const { lease, sessions, told } = await keepThrough({});
    lease.stop();
    await new Promise((resolve) => setImmediate(resolve));
    expect([sessions.length, told]).toEqual([2, []]);
  });
});
