import { fromBinary } from "@bufbuild/protobuf";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import { DeliveryState, FailureSchema } from "../../gen/taskgate/v1/receipt_pb.ts";
import type { Clock } from "./clock.ts";
import type { DeliveryRow } from "./store.ts";

/** Those who wait for what becomes of a delivery. */
export interface DeliveryWaiters {
  /**
   * Waits until the delivery has ended, or the upstream refuses our credentials, and
   * at most `timeoutMs`. Resolves with the last that is known of it.
   */
  wait(row: DeliveryRow, timeoutMs: number, signal?: AbortSignal): Promise<DeliveryRow>;
  /** A delivery has changed. */
  tell(row: DeliveryRow): void;
  /** Nobody waits any longer, from now on. */
  releaseAll(): void;
}

// Far more than end within one commit.
const minEnded = 500;

/** Creates the list of those who wait. */
export function createDeliveryWaiters(clock: Clock): DeliveryWaiters {
  let isReleased = false;
  // A delivery may end between the moment at which its row was read and the one at
  // which somebody waits for it. Two maps that only grow: one that loses as much as it
  // gets would keep all that was ever in it until the next full collection.
  let ended = new Map<number, DeliveryRow>();
  let endedBefore = new Map<number, DeliveryRow>();
  const waiting = new Map<number, Set<(row?: DeliveryRow) => void>>();

  return {
    wait(row, timeoutMs, signal) {
      const last = ended.get(row.seq) ?? endedBefore.get(row.seq);
      if (last !== undefined) {
        return Promise.resolve(last);
      }
      if (isReleased || isSettled(row) || timeoutMs <= 0 || signal?.aborted === true) {
        return Promise.resolve(row);
      }
      return new Promise((resolve) => {
        let last = row;
        const others = waiting.get(row.seq) ?? new Set();
        waiting.set(row.seq, others);

        function finish(): void {
          others.delete(onChange);
          if (others.size === 0) {
            waiting.delete(row.seq);
          }
          cancelTimer();
          signal?.removeEventListener("abort", finish);
          resolve(last);
        }
        function onChange(changed?: DeliveryRow): void {
          last = changed ?? last;
          if (changed === undefined || isSettled(changed)) {
            finish();
          }
        }

        const cancelTimer = clock.setTimer(finish, timeoutMs);
        signal?.addEventListener("abort", finish, { once: true });
        others.add(onChange);
      });
    },
    tell(row) {
      if (row.state !== DeliveryState.STORED) {
        ended.set(row.seq, row);
        if (ended.size > minEnded) {
          endedBefore = ended;
          ended = new Map();
        }
      } else {
        ended.delete(row.seq);
        endedBefore.delete(row.seq);
      }
      for (const onChange of waiting.get(row.seq) ?? []) {
        onChange(row);
      }
    },
    releaseAll() {
      isReleased = true;
      for (const others of waiting.values()) {
        for (const onChange of others) {
          onChange();
        }
      }
    },
  };
}

function isSettled({ state, failure }: DeliveryRow): boolean {
  return (
    state !== DeliveryState.STORED ||
    (failure !== null && fromBinary(FailureSchema, failure).reason === ErrorReason.UPSTREAM_AUTH)
  );
}
