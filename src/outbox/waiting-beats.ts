import type { Clock } from "./clock.ts";
import type { DeliveryRow, Store } from "./store.ts";

export interface WaitingBeatsDeps {
  store: Store;
  clock: Clock;
  upstream: string;
  intervalMs: number;
  /** Says upstream that the task is alive; what comes of it does not matter. */
  beat: (row: DeliveryRow) => Promise<unknown>;
  onUnexpectedError: (error: unknown) => void;
}

const pageRows = 100;
const concurrency = 8;

/**
 * Beats for tasks whose outcome is stored and not yet delivered: their worker has
 * done its part, and the upstream must not take them for dead meanwhile. Returns
 * how to stop.
 */
export function startWaitingBeats(deps: WaitingBeatsDeps): () => void {
  const { store, clock, upstream, intervalMs } = deps;
  let isStopped = false;
  let cancelTimer: () => void = () => undefined;

  async function beatAll(): Promise<void> {
    // A short attempt needs no beat.
    const begunBeforeMs = clock.now() - intervalMs;
    let afterSeq = 0;
    for (;;) {
      const rows = await store.run({
        type: "waiting",
        upstream,
        begunBeforeMs,
        afterSeq,
        limit: pageRows,
      });
      const next = rows.values();
      await Promise.all(Array.from({ length: concurrency }, () => beatEach(next)));
      const last = rows.at(-1);
      if (last === undefined || rows.length < pageRows || isStopped) {
        return;
      }
      afterSeq = last.seq;
    }
  }

  async function beatEach(rows: Iterator<DeliveryRow>): Promise<void> {
    for (let item = rows.next(); item.done !== true && !isStopped; item = rows.next()) {
      await deps.beat(item.value);
    }
  }

  function again(): void {
    if (!isStopped) {
      cancelTimer = clock.setTimer(
        () => void beatAll().catch(deps.onUnexpectedError).then(again),
        intervalMs,
      );
    }
  }

  again();
  return () => {
    isStopped = true;
    cancelTimer();
  };
}
