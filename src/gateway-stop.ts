import { ErrorReason } from "../gen/taskgate/v1/error_reason_pb.ts";
import type { Listener } from "./listener/listener.ts";
import { createFailure } from "./model/failure.ts";
import type { Log } from "./model/log.ts";
import type { Clock } from "./outbox/clock.ts";
import type { Outbox } from "./outbox/outbox.ts";
import type { Undelivered } from "./outbox/store.ts";
import { errorFromFailure } from "./rpc/errors.ts";
import type { StreamDeps } from "./rpc/stream-deps.ts";

/** How a gateway has ended. */
export interface StopResult {
  /** What stays stored, by upstream; empty: all was delivered. Undefined: the store cannot say. */
  undelivered: readonly Undelivered[] | undefined;
}

export interface StopDeps {
  outbox: Pick<Outbox, "hurry" | "releaseWaiting" | "stop">;
  listener: Pick<Listener, "close">;
  openStreams: StreamDeps["openStreams"];
  /** Counts what is not delivered. */
  undelivered: () => Promise<readonly Undelivered[]>;
  /** From the beginning to the end of it all. */
  drainTimeoutMs: number;
  /** How long new connections and calls are still taken. */
  minAcceptMs: number;
  setTimer: Clock["setTimer"];
  /** A clock that nobody sets. */
  steadyNow: () => number;
  log: Log;
}

// The part of the time after which callers are told what is known, so that they hear it.
const answerAt = 0.8;

/**
 * Stops what takes and sends reports: takes new calls for a while, answers those under
 * way, and sends meanwhile what is stored, outcomes first. What is left at the end of
 * the time stays stored.
 */
export async function stopServing(deps: StopDeps): Promise<StopResult> {
  const { outbox, listener, openStreams, drainTimeoutMs, minAcceptMs, setTimer, steadyNow, log } = deps;
  const endMs = steadyNow() + drainTimeoutMs;
  const leftMs = () => Math.max(0, endMs - steadyNow());
  // At once: whoever asked for the stop may not have so much patience.
  outbox.hurry(drainTimeoutMs);
  const cancelRelease = setTimer(() => {
    outbox.releaseWaiting();
    for (const stream of openStreams) {
      stream.fail(errorFromFailure(goingAway));
    }
  }, drainTimeoutMs * answerAt);
  if (minAcceptMs > 0) {
    await new Promise<void>((resolve) => setTimer(resolve, Math.min(minAcceptMs, drainTimeoutMs)));
  }
  await listener.close(leftMs());
  cancelRelease();
  await outbox.stop(leftMs());
  try {
    return { undelivered: await deps.undelivered() };
  } catch (error) {
    log.error("what is not delivered cannot be counted", error);
    return { undelivered: undefined };
  }
}

const goingAway = createFailure(ErrorReason.DRAINING, "the gateway stops", { retryAfterMs: 1000 });

/** Says in a sentence what is not delivered. */
export function undeliveredWords({ undelivered }: StopResult): string {
  if (undelivered === undefined) {
    return "what is not delivered is unknown: the store has failed";
  }
  const parts = undelivered.map(
    ({ upstream, reports, outcomes }) =>
      `${upstream} ${reports} ${reports === 1 ? "report" : "reports"} (${outcomes} ${outcomes === 1 ? "outcome" : "outcomes"})`,
  );
  return parts.length === 0 ? "all is delivered" : `not delivered, and stored: ${parts.join(", ")}`;
}
