import { type Duration, durationMs } from "@bufbuild/protobuf/wkt";
import { Directive } from "../gen/taskgate/v1/session_pb.ts";
import { isUnreachable } from "./gateway.ts";

/** What every heartbeat is answered with. */
interface Beaten {
  directive: Directive;
  sessionId: string;
  leaseDuration?: Duration;
  nextHeartbeat?: Duration;
}

export interface Lease {
  /** Names the session to the gateway. */
  readonly sessionId: string;
  /** Aborted when nobody waits for the task any more, or the gateway was not reached for a whole lease. */
  readonly signal: AbortSignal;
  /** Ends the beats, which does not end the lease: an outcome does. */
  stop(): void;
}

const retryDelayMs = 500;
const firstBeatMs = 20_000;

/** Begins a lease with the first heartbeat, and beats. A browser has no bidirectional streams that could. */
export async function keepLease(beat: (sessionId: string) => Promise<Beaten>): Promise<Lease> {
  const lost = new AbortController();
  let { sessionId, leaseDuration, nextHeartbeat } = await firstBeat(beat);
  let heardMs = performance.now();
  let timer = setTimeout(beatAgain, msOf(nextHeartbeat, 10_000));
  let isStopped = false;

  async function beatAgain(): Promise<void> {
    let delayMs = retryDelayMs;
    try {
      const answer = await beat(sessionId);
      heardMs = performance.now();
      ({ leaseDuration, nextHeartbeat } = answer);
      delayMs = msOf(nextHeartbeat, 10_000);
      if (answer.directive === Directive.CANCEL) {
        lost.abort(new Error("nobody waits for the task any more"));
      } else if (answer.directive === Directive.RECONNECT) {
        sessionId = "";
      } else {
        sessionId = answer.sessionId;
      }
    } catch (error) {
      if (performance.now() - heardMs > msOf(leaseDuration, 30_000)) {
        lost.abort(error);
      }
    }
    if (!isStopped && !lost.signal.aborted) {
      timer = setTimeout(beatAgain, delayMs);
    }
  }

  return {
    get sessionId() {
      return sessionId;
    },
    signal: lost.signal,
    stop() {
      isStopped = true;
      clearTimeout(timer);
    },
  };
}

// What has begun needs its lease, also while the gateway is started again.
async function firstBeat(beat: (sessionId: string) => Promise<Beaten>): Promise<Beaten> {
  const giveUpMs = performance.now() + firstBeatMs;
  for (;;) {
    try {
      return await beat("");
    } catch (error) {
      if (performance.now() >= giveUpMs || !isUnreachable(error)) {
        throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, retryDelayMs));
    }
  }
}

function msOf(duration: Duration | undefined, otherwise: number): number {
  return duration === undefined ? otherwise : durationMs(duration);
}
