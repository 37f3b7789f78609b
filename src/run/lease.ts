import { Code } from "@connectrpc/connect";
import { Directive } from "../../gen/taskgate/v1/session_pb.ts";
import { backoffMs, readCallFailure } from "./call-errors.ts";
import type { Clock } from "./clock.ts";
import type { Contact } from "./contact.ts";
import type { Beat, Order, TargetCall } from "./report-target.ts";

/** The gateway's belief that the command is alive. */
export interface Lease {
  /** The session that holds it; empty while there is none. */
  sessionId: () => string;
  /** Beats no more. */
  stop: () => void;
}

export interface LeaseDeps {
  beat: (call: TargetCall) => Promise<Beat>;
  clock: Clock;
  /** From 0 to 1. */
  random: () => number;
  contact: Contact;
  tell: (line: string) => void;
  /** The gateway says to stop. It is told once. */
  onCancel: (order: Order) => void;
}

const beatTimeoutMs = 10_000;
const defaultIntervalMs = 10_000;

/** Beats for a command, from now on until it is stopped or the gateway says to stop. */
export function keepLease({ beat, clock, random, contact, tell, onCancel }: LeaseDeps): Lease {
  const over = new AbortController();
  let sessionId = "";
  let leaseDurationMs = 0;
  let answeredMs = clock.nowMs();
  let isSilenceTold = false;

  function tellSilence(): void {
    const isLost = leaseDurationMs > 0 && clock.nowMs() - answeredMs >= leaseDurationMs;
    if (isLost && !isSilenceTold) {
      isSilenceTold = true;
      tell(
        `no heartbeat was answered for ${leaseDurationMs / 1000} s: the command may have been reported as lost; it goes on`,
      );
    }
  }

  /** Beats once; says when to beat next, or that there is nothing to beat for. */
  async function beatOnce(attempt: number): Promise<{ afterMs: number; isAnswered: boolean } | undefined> {
    try {
      const answer = await beat({ sessionId, timeoutMs: beatTimeoutMs, signal: over.signal });
      contact.answered();
      answeredMs = clock.nowMs();
      isSilenceTold = false;
      leaseDurationMs = answer.leaseDurationMs;
      if (answer.directive === Directive.CANCEL) {
        onCancel(answer);
        return undefined;
      }
      const isNew = answer.directive === Directive.RECONNECT && sessionId !== "";
      sessionId = answer.directive === Directive.RECONNECT ? "" : answer.sessionId;
      return { afterMs: isNew ? 0 : answer.nextHeartbeatMs || defaultIntervalMs, isAnswered: true };
    } catch (error) {
      if (over.signal.aborted) {
        return undefined;
      }
      const failure = readCallFailure(error);
      contact.failed(failure);
      tellSilence();
      if (failure.code === Code.Unimplemented) {
        tell("this gateway keeps no leases: should the command be lost together with taskgate, nobody tells");
        return undefined;
      }
      if (!failure.canRetry && failure.code !== Code.ResourceExhausted) {
        tell(`the heartbeat was refused, and there are no more: ${failure.message}`);
        return undefined;
      }
      return { afterMs: Math.max(failure.retryDelayMs, backoffMs(attempt, random)), isAnswered: false };
    }
  }

  async function keep(): Promise<void> {
    let attempt = 1;
    for (let next = await beatOnce(attempt); next !== undefined; next = await beatOnce(attempt)) {
      attempt = next.isAnswered ? 1 : attempt + 1;
      await clock.sleep(next.afterMs, over.signal);
      if (over.signal.aborted) {
        return;
      }
    }
  }
  void keep();
  return { sessionId: () => sessionId, stop: () => over.abort() };
}
