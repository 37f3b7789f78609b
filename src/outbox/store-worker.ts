import { parentPort, workerData } from "node:worker_threads";
import { messageOf } from "../model/error-message.ts";
import { type Batch, decodeOps, encodeResults, type OpResult } from "./batch-codec.ts";
import type { Quota } from "./lanes.ts";
import type { Synchronous } from "./open-database.ts";
import { type OpenedStore, openStore } from "./open-store.ts";
import type { StoreOp } from "./store.ts";

/** What the worker is started with. */
export interface StoreWorkerData {
  directory: string;
  synchronous: Synchronous;
  quota: Quota;
  isVisit: boolean;
}

/** What the worker says: first how the store is, then what came of each batch. */
export type StoreWorkerMessage =
  | {
      kind: "opened";
      salt: number;
      sessionKey: string;
      damage: string | undefined;
      wasUnclean: boolean;
    }
  | { kind: "notOpened"; message: string }
  | { kind: "committed"; results: ReturnType<typeof encodeResults> }
  /** `isFatal`: nothing that is stored from now on would be safe. */
  | { kind: "notCommitted"; message: string; isFatal: boolean };

// The thread that owns the database, so that the event loop never waits for a disk.
const { directory, synchronous, quota, isVisit } = workerData as StoreWorkerData;

function say(message: StoreWorkerMessage): void {
  parentPort?.postMessage(message);
}

try {
  const store = openStore({ directory, synchronous, quota, isVisit, nowMs: Date.now() });
  const { salt, sessionKey, damage, wasUnclean } = store;
  say({ kind: "opened", salt, sessionKey, damage, wasUnclean });
  parentPort?.on("message", (batch: Batch<StoreOp>) => {
    // Nobody sends an empty one but to close.
    if (batch.length === 0) {
      store.close();
      parentPort?.close();
      return;
    }
    try {
      const ops = decodeOps(batch);
      say({ kind: "committed", results: encodeResults(ops, runAll(store, ops)) });
    } catch (error) {
      say({ kind: "notCommitted", message: messageOf(error), isFatal: store.isFatal(error) });
    }
  });
} catch (error) {
  say({ kind: "notOpened", message: messageOf(error) });
  parentPort?.close();
}

// Together where that is possible; one that fails must not take the others with it.
function runAll(store: OpenedStore, ops: readonly StoreOp[]): OpResult[] {
  try {
    return store.runAll(ops).map((result) => ({ result }));
  } catch (error) {
    if (store.isFatal(error)) {
      throw error;
    }
    return ops.length === 1 ? [{ problem: messageOf(error) }] : ops.flatMap((op) => runAll(store, [op]));
  }
}
