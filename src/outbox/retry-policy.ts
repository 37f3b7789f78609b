import { toBinary } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import { type Failure, FailureSchema } from "../../gen/taskgate/v1/receipt_pb.ts";
import type { AttemptFailure } from "../model/attempt-result.ts";
import { failureWithReason } from "../model/failure.ts";
import { doubtFloorMs } from "./doubt-floor.ts";
import type { ClaimedDelivery, Settlement } from "./store.ts";

/** When to try again, per upstream. Delays have full jitter between their floor and a bound that doubles up to the cap. */
export interface RetryPolicy {
  /** After an attempt that was surely not taken. */
  unavailable: Backoff;
  /** After an attempt that may have been taken; the floor is how long it may still be running there. */
  inDoubt: Backoff;
  /** While the upstream cannot take it yet. */
  tooEarly: Backoff;
  /** How long a delivery may be too early, from the first time on; then it is refused. */
  tooEarlyGraceMs: number;
  /** A longer wait that an upstream asks for is not kept. Default: it is, cut to what is reasonable. */
  maxAskedMs?: number;
}

export interface Backoff {
  floorMs: number;
  baseMs: number;
  capMs: number;
}

/** Nothing is due later than this: longer waits that an upstream asks for are cut. */
export const maxDelayMs = 300_000;

const common = {
  unavailable: { floorMs: 100, baseMs: 500, capMs: 5000 },
  tooEarly: { floorMs: 250, baseMs: 500, capMs: 5000 },
  tooEarlyGraceMs: 60_000,
};

/** The policies. */
export const retryPolicies: Readonly<Record<string, RetryPolicy>> = {
  orchestra: { ...common, inDoubt: { floorMs: doubtFloorMs.orchestra ?? 0, baseMs: 1000, capMs: 30_000 } },
  orchestrator: {
    ...common,
    inDoubt: { floorMs: doubtFloorMs.orchestrator ?? 0, baseMs: 10_000, capMs: 60_000 },
  },
  aidbox: { ...common, inDoubt: { floorMs: doubtFloorMs.aidbox ?? 0, baseMs: 1000, capMs: 30_000 } },
};

const hurriedCapMs = 1000;

/**
 * The policy of a gateway that ends in `leftMs`: it tries at least every second, except
 * where an attempt may still be running upstream.
 */
export function hurried(policy: RetryPolicy, leftMs: number): RetryPolicy {
  const hurry = (backoff: Backoff): Backoff => ({
    ...backoff,
    capMs: Math.min(backoff.capMs, Math.max(backoff.floorMs, hurriedCapMs)),
  });
  return {
    ...policy,
    unavailable: hurry(policy.unavailable),
    inDoubt: hurry(policy.inDoubt),
    tooEarly: hurry(policy.tooEarly),
    maxAskedMs: leftMs,
  };
}

// A non-outcome that the upstream answered so often with a failure of its own, or
// that kept an outcome waiting so long, steps aside.
const maxOwnFailures = 5;
const maxOutcomeWaitMs = 60_000;
const minBlockingAttempts = 3;
// Ages alone would make a clock that jumps a reason to refuse.
const minTooEarlyAttempts = 8;

/**
 * Decides what a failed attempt means for its delivery.
 *
 * @param reserveRetryMs how long a retry must wait for its place among the origin's others
 * @param random from 0 to 1
 */
export function settlementOf(
  result: AttemptFailure,
  claimed: ClaimedDelivery,
  policy: RetryPolicy,
  nowMs: number,
  reserveRetryMs: () => number,
  random: () => number,
): Settlement {
  const { row } = claimed;
  const metadata = { ...result.failure.metadata, attempt: String(row.attempts) };
  const failure = toBinary(FailureSchema, { ...result.failure, metadata });

  function refused(isTaskOpen: boolean): Settlement {
    const reason = result.kind === "rejected" ? result.failure.reason : ErrorReason.UPSTREAM_REJECTED;
    const final = {
      ...(result.kind === "rejected" ? result.failure : failureWithReason(result.failure, reason)),
      metadata: { ...metadata, ...(isTaskOpen ? { task_open: "true" } : {}) },
    };
    return { kind: "rejected", failure: toBinary(FailureSchema, final), isTaskOpen };
  }

  function again(
    backoff: Backoff,
    isInDoubt: boolean,
    isOwnFailure: boolean,
  ): Extract<Settlement, { kind: "again" }> {
    const askedMs = retryAfterMs(result.failure) ?? 0;
    const delayMs = Math.max(
      backoffMs(backoff, row.attempts, random),
      reserveRetryMs(),
      askedMs > (policy.maxAskedMs ?? maxDelayMs) ? 0 : askedMs,
    );
    return {
      kind: "again",
      failure,
      dueMs: Math.ceil(nowMs + Math.min(delayMs, maxDelayMs)),
      isInDoubt,
      isOwnFailure,
    };
  }

  switch (result.kind) {
    case "rejected":
      return refused(row.kind === "outcome" && result.isTaskOpen === true);
    case "unconfirmed":
      return { kind: "unconfirmed", failure };
    case "tooEarly": {
      const sinceMs = claimed.ownFailureMs ?? nowMs;
      const isOver = nowMs - sinceMs >= policy.tooEarlyGraceMs && row.attempts >= minTooEarlyAttempts;
      return isOver ? refused(false) : { ...again(policy.tooEarly, false, false), isTooEarly: true };
    }
    case "unavailable":
    case "unauthorized":
      return again(policy.unavailable, false, false);
    case "inDoubt": {
      const isOwnFailure = result.failure.metadata.http_status !== undefined;
      return isPoison(claimed, isOwnFailure, nowMs)
        ? refused(false)
        : again(policy.inDoubt, true, isOwnFailure);
    }
    default:
      return result.kind satisfies never;
  }
}

/** A delay with full jitter between the floor and a bound that doubles with each attempt. */
export function backoffMs(
  { floorMs, baseMs, capMs }: Backoff,
  attempts: number,
  random: () => number,
): number {
  const boundMs = Math.min(capMs, baseMs * 2 ** Math.min(attempts - 1, 20));
  return floorMs + random() * Math.max(0, boundMs - floorMs);
}

/** What the upstream asks to wait, cut to what is reasonable; undefined: nothing. */
export function retryAfterMs(failure: Failure): number | undefined {
  return failure.retryDelay && Math.min(Math.max(0, durationMs(failure.retryDelay)), maxDelayMs);
}

function isPoison(claimed: ClaimedDelivery, isOwnFailure: boolean, nowMs: number): boolean {
  const { row, outcomeCreateMs, ownFailures, ownFailureMs } = claimed;
  if (row.kind === "outcome") {
    return false;
  }
  if (isOwnFailure && ownFailures + 1 >= maxOwnFailures) {
    return true;
  }
  return (
    outcomeCreateMs !== null &&
    ownFailureMs !== null &&
    row.attempts >= minBlockingAttempts &&
    nowMs - Math.max(outcomeCreateMs, ownFailureMs) >= maxOutcomeWaitMs
  );
}
