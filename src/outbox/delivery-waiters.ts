import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import { DeliveryState, type Failure, FailureSchema } from "../../gen/taskgate/v1/receipt_pb.ts";
import { createChurnMap } from "../model/churn-map.ts";
import type { Clock } from "./clock.ts";
import type { DeliveryRow } from "./store.ts";

/** Those who wait for what becomes of a delivery. */
export interface DeliveryWaiters {
  /**
   * Waits until the delivery has ended, or the upstream refuses our credentials, and
   * at most `timeoutMs`. Resolves with the last that is known of it. `lane`: where it
   * waits. Default: unknown, and only its own attempts tell that they are refused.
   */
  wait(row: DeliveryRow, timeoutMs: number, signal?: AbortSignal, lane?: string): Promise<DeliveryRow>;
  /** Waits until the delivery has ended, however long that takes. */
  waitForEnd(row: DeliveryRow, signal: AbortSignal): Promise<DeliveryRow>;
  /** A delivery has changed. */
  tell(row: DeliveryRow): void;
  /** The upstream of a lane refuses our credentials; undefined: it does so no more. */
  refuse(lane: string, failure: Failure | undefined): void;
  /** Nobody waits any longer, from now on. */
  releaseAll(): void;
}

// Far more than end within one commit.
const minEnded = 500;
// Of their answers, in UTF-16 units: an end must not be missed, its answer may be.
const maxEndedAnswers = 4 * 1024 * 1024;

interface Waiter {
  lane: string | undefined;
  /** What has changed; undefined: nobody waits any longer. */
  onChange(row: DeliveryRow | undefined): void;
  /** Looks again at what is known. */
  look(): void;
}

/** Creates the list of those who wait. */
export function createDeliveryWaiters(clock: Clock): DeliveryWaiters {
  let isReleased = false;
  // A delivery may end between the moment at which its row was read and the one at
  // which somebody waits for it. Two maps that only grow: one that loses as much as it
  // gets would keep all that was ever in it until the next full collection.
  let ended = new Map<number, DeliveryRow>();
  let endedBefore = new Map<number, DeliveryRow>();
  let endedAnswers = 0;
  const waiting = createChurnMap<number, Set<Waiter>>();
  const refusals = new Map<string, Uint8Array>();

  // Its first attempt has an answer of its own; before and after it the lane's counts.
  function seen(row: DeliveryRow, lane: string | undefined): DeliveryRow {
    const refusal = lane === undefined ? undefined : refusals.get(lane);
    const isInFirstAttempt = row.attempts === 1 && row.failure === null;
    return refusal === undefined || isSettled(row) || isInFirstAttempt ? row : { ...row, failure: refusal };
  }

  function forget(seq: number): void {
    endedAnswers -= knownEnd(seq)?.answer.length ?? 0;
    ended.delete(seq);
    endedBefore.delete(seq);
  }

  function knownEnd(seq: number): DeliveryRow | undefined {
    return ended.get(seq) ?? endedBefore.get(seq);
  }

  function remember(row: DeliveryRow): void {
    if (endedBefore.has(row.seq)) {
      forget(row.seq);
    }
    endedAnswers -= ended.get(row.seq)?.answer.length ?? 0;
    if (endedAnswers + row.answer.length > maxEndedAnswers) {
      ended = withoutAnswers(ended);
      endedBefore = withoutAnswers(endedBefore);
      endedAnswers = 0;
    }
    const kept = row.answer.length > maxEndedAnswers ? { ...row, answer: "" } : row;
    ended.set(row.seq, kept);
    endedAnswers += kept.answer.length;
    if (ended.size > minEnded) {
      for (const { answer } of endedBefore.values()) {
        endedAnswers -= answer.length;
      }
      endedBefore = ended;
      ended = new Map();
    }
  }

  function waitUntil(
    isEnough: (row: DeliveryRow) => boolean,
    row: DeliveryRow,
    timeoutMs: number,
    signal?: AbortSignal,
    lane?: string,
  ): Promise<DeliveryRow> {
    const known = knownEnd(row.seq);
    if (known !== undefined) {
      return Promise.resolve(known);
    }
    if (isReleased || timeoutMs <= 0 || signal?.aborted === true) {
      return Promise.resolve(row);
    }
    const first = seen(row, lane);
    if (isEnough(first)) {
      return Promise.resolve(first);
    }
    return new Promise((resolve) => {
      let last = row;
      const others = waiting.get(row.seq) ?? new Set();
      waiting.set(row.seq, others);

      function finish(): void {
        others.delete(waiter);
        if (others.size === 0) {
          waiting.delete(row.seq);
        }
        cancelTimer?.();
        signal?.removeEventListener("abort", finish);
        resolve(last);
      }
      const waiter: Waiter = {
        lane,
        onChange(changed) {
          last = changed === undefined ? last : seen(changed, lane);
          if (changed === undefined || isEnough(last)) {
            finish();
          }
        },
        look: () => waiter.onChange(last),
      };

      const cancelTimer =
        timeoutMs === Number.POSITIVE_INFINITY ? undefined : clock.setTimer(finish, timeoutMs);
      signal?.addEventListener("abort", finish, { once: true });
      others.add(waiter);
    });
  }

  return {
    wait: (row, timeoutMs, signal, lane) => waitUntil(isSettled, row, timeoutMs, signal, lane),
    waitForEnd: (row, signal) => waitUntil(isEnded, row, Number.POSITIVE_INFINITY, signal),
    tell(row) {
      if (row.state === DeliveryState.STORED) {
        forget(row.seq);
      } else {
        remember(row);
      }
      for (const waiter of waiting.get(row.seq) ?? []) {
        waiter.onChange(row);
      }
    },
    refuse(lane, failure) {
      if (failure === undefined) {
        refusals.delete(lane);
        return;
      }
      refusals.set(lane, toBinary(FailureSchema, failure));
      for (const waiter of [...waiting.values()].flatMap((others) => [...others])) {
        if (waiter.lane === lane) {
          waiter.look();
        }
      }
    },
    releaseAll() {
      isReleased = true;
      for (const others of waiting.values()) {
        for (const waiter of others) {
          waiter.onChange(undefined);
        }
      }
    },
  };
}

function withoutAnswers(rows: ReadonlyMap<number, DeliveryRow>): Map<number, DeliveryRow> {
  return new Map(Array.from(rows, ([seq, row]) => [seq, { ...row, answer: "" }]));
}

function isEnded({ state }: DeliveryRow): boolean {
  return state !== DeliveryState.STORED;
}

function isSettled({ state, failure }: DeliveryRow): boolean {
  return (
    state !== DeliveryState.STORED ||
    (failure !== null && fromBinary(FailureSchema, failure).reason === ErrorReason.UPSTREAM_AUTH)
  );
}
