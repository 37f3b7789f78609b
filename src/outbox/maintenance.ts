import type { Clock } from "./clock.ts";
import type { Store, VerifyResult } from "./store.ts";

export interface MaintenanceDeps {
  store: Store;
  clock: Clock;
  /** The wall clock as it would be had nobody set it since the start: a jump must not make things look old. */
  steadyNow: () => number;
  /** How long what has ended is kept. */
  retentionMs: number;
  /** Compare all rows with their checksums, which is for a store that was not closed. */
  verify: boolean;
  /** Is told what an operator must know at once. */
  onAlarm: (message: string, fields: Record<string, string>) => void;
  onUnexpectedError: (error: unknown) => void;
}

const pruneIntervalMs = 60_000;
const pruneRows = 100;
const maxEnded = 200_000;
// Payloads are read, and may be megabytes each.
const verifyRows = 20;

/** Drops what has ended long ago, and looks for damage, in small steps. Returns how to stop. */
export function startMaintenance(deps: MaintenanceDeps): () => void {
  const { store, clock, steadyNow, retentionMs, onAlarm, onUnexpectedError } = deps;
  let isStopped = false;
  let cancelTimer: () => void = () => undefined;

  async function prune(): Promise<void> {
    const beforeMs = steadyNow() - retentionMs;
    let isMore = true;
    while (isMore && !isStopped) {
      const result = await store.run({
        type: "prune",
        deliveriesBeforeMs: beforeMs,
        recordsBeforeMs: beforeMs,
        maxEnded,
        maxRows: pruneRows,
      });
      isMore = result.isMore;
    }
  }

  async function verify(): Promise<void> {
    let afterSeq: number | null = 0;
    while (afterSeq !== null && !isStopped) {
      const { lastSeq, damaged }: VerifyResult = await store.run({
        type: "verify",
        afterSeq,
        limit: verifyRows,
      });
      for (const deliveryId of damaged) {
        onAlarm("a stored delivery is damaged and will not be sent", { deliveryId });
      }
      afterSeq = lastSeq;
    }
  }

  function again(): void {
    if (!isStopped) {
      cancelTimer = clock.setTimer(() => void prune().catch(onUnexpectedError).then(again), pruneIntervalMs);
    }
  }

  if (deps.verify) {
    void verify().catch(onUnexpectedError);
  }
  again();
  return () => {
    isStopped = true;
    cancelTimer();
  };
}
