import module from "node:module";
import { Worker } from "node:worker_threads";
import { decodeResults, encodeOps } from "./batch-codec.ts";
import type { Quota } from "./lanes.ts";
import type { Synchronous } from "./open-database.ts";
import type { ResultOf, Store, StoreOp } from "./store.ts";
import type { StoreWorkerData, StoreWorkerMessage } from "./store-worker.ts";

export interface WorkerStoreOptions {
  directory: string;
  quota: Quota;
  /** Default: FULL, the only one that keeps what is promised. */
  synchronous?: Synchronous;
  /** As for `openStore`. */
  isVisit?: boolean;
  /** Is told once that nothing can be stored safely any more. */
  onFatal: (error: Error) => void;
}

/** A store whose database is in another thread. */
export interface WorkerStore extends Store {
  /** What an operator must be told of the opening. */
  readonly damage: string | undefined;
  /** The last process did not close it: its rows should be compared with their checksums. */
  readonly wasUnclean: boolean;
  /** A secret of this store, to sign session ids with. */
  readonly sessionKey: string;
}

interface Waiting {
  op: StoreOp;
  resolve: (result: never) => void;
  reject: (error: Error) => void;
}

/**
 * Opens the store of a directory on a thread of its own. Operations that come while
 * a commit is under way go together into the next one: many calls share one sync.
 * Rejects when the directory cannot be used.
 */
export async function openWorkerStore(options: WorkerStoreOptions): Promise<WorkerStore> {
  const { directory, quota, synchronous = "FULL", isVisit = false, onFatal } = options;
  const workerData: StoreWorkerData = { directory, quota, synchronous, isVisit };
  // In a checkout the sources run as they are, in the package what was built of them.
  const file = import.meta.url.endsWith(".ts") ? "./store-worker.ts" : "./store-worker.js";
  // A thread does not have its process's cache of compiled files by itself, and what Node
  // writes of a crash has the variables of every thread that does not say otherwise.
  const begin = `
    process.report.excludeEnv = true;
    const [file, cache] = ${JSON.stringify([new URL(file, import.meta.url).href, module.getCompileCacheDir() ?? ""])};
    if (cache !== "") {
      const module = require("node:module");
      module.enableCompileCache(cache);
      setTimeout(() => module.flushCompileCache(), 500).unref();
    }
    import(file);
  `;
  const worker = new Worker(begin, { eval: true, workerData });
  const opened = await firstMessage(worker);
  if (opened.kind !== "opened") {
    await worker.terminate();
    throw new Error(opened.kind === "notOpened" ? opened.message : "the store's thread does not answer");
  }

  let queue: Waiting[] = [];
  let underWay: Waiting[] = [];
  let isScheduled = false;
  let failure: Error | undefined;
  let closed: (() => void) | undefined;
  let closing: Promise<void> | undefined;

  function schedule(): void {
    if (!isScheduled && underWay.length === 0) {
      isScheduled = true;
      setImmediate(commit);
    }
  }

  function commit(): void {
    isScheduled = false;
    if (queue.length > 0) {
      underWay = queue;
      queue = [];
      worker.postMessage(encodeOps(underWay.map(({ op }) => op)));
    } else if (closed !== undefined) {
      worker.postMessage([]);
    }
  }

  function fail(error: Error): void {
    if (failure === undefined) {
      failure = error;
      onFatal(error);
    }
    for (const { reject } of [...underWay.splice(0), ...queue.splice(0)]) {
      reject(error);
    }
  }

  worker.on("message", (message: StoreWorkerMessage) => {
    const batch = underWay;
    underWay = [];
    if (message.kind === "committed") {
      const results = decodeResults(
        batch.map(({ op }) => op),
        message.results,
      );
      for (const [index, { resolve, reject }] of batch.entries()) {
        const outcome = results[index] ?? { problem: "no result" };
        if ("problem" in outcome) {
          reject(new Error(`the store could not write: ${outcome.problem}`));
        } else {
          resolve(outcome.result as never);
        }
      }
    } else if (message.kind === "notCommitted") {
      const error = new Error(`the store could not write: ${message.message}`);
      for (const { reject } of batch) {
        reject(error);
      }
      if (message.isFatal) {
        fail(error);
      }
    }
    if (queue.length > 0 || closed !== undefined) {
      schedule();
    }
  });
  worker.on("error", (error) => fail(new Error("the store's thread failed", { cause: error })));
  worker.on("exit", () => {
    if (closed === undefined) {
      fail(new Error("the store's thread has ended"));
    }
    closed?.();
  });

  return {
    salt: opened.salt,
    sessionKey: opened.sessionKey,
    damage: opened.damage,
    wasUnclean: opened.wasUnclean,
    run: <Op extends StoreOp>(op: Op) =>
      new Promise<ResultOf<Op>>((resolve, reject) => {
        if (failure !== undefined || closed !== undefined) {
          reject(failure ?? new Error("the store is closed"));
          return;
        }
        queue.push({ op, resolve, reject });
        schedule();
      }),
    close() {
      closing ??= new Promise<void>((resolve) => {
        closed = resolve;
        if (failure === undefined) {
          schedule();
        } else {
          void worker.terminate().then(() => resolve());
        }
      });
      return closing;
    },
  };
}

function firstMessage(worker: Worker): Promise<StoreWorkerMessage> {
  return new Promise((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
}
