import { parentPort, workerData } from "node:worker_threads";
import type { Quota } from "./lanes.ts";
import type { Synchronous } from "./open-database.ts";
import { openStore } from "./open-store.ts";
import type { ResultOf, StoreOp } from "./store.ts";

/** What the worker is started with. */
export interface StoreWorkerData {
  directory: string;
  synchronous: Synchronous;
  quota: Quota;
}

/** What the worker says: first how the store is, then what came of each batch. */
export type StoreWorkerMessage =
  | { kind: "opened"; salt: number; damage: string | undefined; wasUnclean: boolean }
  | { kind: "notOpened"; message: string }
  | { kind: "committed"; results: ResultOf<StoreOp>[] }
  /** `isFatal`: nothing that is stored from now on would be safe. */
  | { kind: "notCommitted"; message: string; isFatal: boolean };

// The thread that owns the database, so that the event loop never waits for a disk.
const { directory, synchronous, quota } = workerData as StoreWorkerData;

function say(message: StoreWorkerMessage): void {
  parentPort?.postMessage(message);
}

try {
  const store = openStore({ directory, synchronous, quota, nowMs: Date.now() });
  say({ kind: "opened", salt: store.salt, damage: store.damage, wasUnclean: store.wasUnclean });
  parentPort?.on("message", (ops: StoreOp[] | "close") => {
    if (ops === "close") {
      store.close();
      parentPort?.close();
      return;
    }
    try {
      say({ kind: "committed", results: store.runAll(ops) });
    } catch (error) {
      say({ kind: "notCommitted", message: messageOf(error), isFatal: store.isFatal(error) });
    }
  });
} catch (error) {
  say({ kind: "notOpened", message: messageOf(error) });
  parentPort?.close();
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
