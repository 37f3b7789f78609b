import { DatabaseSync } from "node:sqlite";
import type { Clock } from "../../../src/outbox/clock.ts";
import type { Quota } from "../../../src/outbox/lanes.ts";
import { migrate } from "../../../src/outbox/schema.ts";
import { createSqliteStore } from "../../../src/outbox/sqlite-store.ts";
import type { ResultOf, Store, StoreOp } from "../../../src/outbox/store.ts";
import { intBetween, type Random } from "../random.ts";

/** A disk with one database, which forgets at a crash whatever was not committed. */
export interface SimulatedDisk {
  /** Opens the store, as a new process would. */
  open(clock: Clock): Store;
  /** The process is gone. */
  crash(): void;
  /** Asks the database directly. */
  query<Op extends StoreOp>(op: Op): ResultOf<Op>;
  close(): void;
}

export interface SimulatedDiskOptions {
  random: Random;
  quota: Quota;
  now: () => number;
  /** Changes what the store says to the database. */
  rewrite?: (sql: string) => string;
  /** Answers before anything is on the disk. */
  acknowledgeEarly?: boolean;
  /** A commit has begun, and is on the disk within 12 ms. */
  onCommit: () => void;
  /** Is told of each operation and its result, before it is on the disk. */
  onDone: (op: StoreOp, result: ResultOf<StoreOp>) => void;
}

interface Waiting {
  op: StoreOp;
  resolve: (result: never) => void;
  reject: (error: unknown) => void;
}

export function createSimulatedDisk(options: SimulatedDiskOptions): SimulatedDisk {
  const { random, rewrite = (sql) => sql } = options;
  const db = new DatabaseSync(":memory:", { enableForeignKeyConstraints: false });
  migrate(db);
  // What the store takes for a commit is one only when the disk says so.
  let isHeld = false;
  const held: Readonly<Record<string, string>> = {
    "BEGIN IMMEDIATE": "SAVEPOINT held",
    COMMIT: "RELEASE held",
    ROLLBACK: "ROLLBACK TO held; RELEASE held",
  };
  const disk = {
    prepare: (sql: string) => db.prepare(rewrite(sql)),
    exec: (sql: string) => db.exec(rewrite((isHeld ? held[sql] : undefined) ?? sql)),
    get isTransaction() {
      return db.isTransaction;
    },
  } as unknown as DatabaseSync;
  let inner = createSqliteStore(disk, options.quota, options.now(), 77);

  return {
    open(clock) {
      inner = createSqliteStore(disk, options.quota, options.now(), 78);
      let queue: Waiting[] = [];
      let isBusy = false;
      let whenClosed: (() => void) | undefined;

      function commit(): void {
        const batch = queue;
        queue = [];
        options.onCommit();
        db.exec("BEGIN");
        isHeld = true;
        const results = inner.runAll(batch.map(({ op }) => op));
        isHeld = false;
        for (const [index, { op }] of batch.entries()) {
          options.onDone(op, results[index]);
        }
        const answer = () => {
          for (const [index, { resolve }] of batch.entries()) {
            resolve(results[index] as never);
          }
        };
        if (options.acknowledgeEarly === true) {
          answer();
        }
        clock.setTimer(
          () => {
            db.exec("COMMIT");
            clock.setTimer(() => {
              answer();
              isBusy = false;
              next();
            }, random());
          },
          intBetween(random, 1, 12),
        );
      }

      function next(): void {
        if (isBusy) {
          return;
        }
        if (queue.length > 0) {
          isBusy = true;
          clock.setTimer(commit, random() * 0.1);
        } else {
          whenClosed?.();
        }
      }

      return {
        salt: inner.salt,
        run: <Op extends StoreOp>(op: Op) =>
          new Promise<ResultOf<Op>>((resolve, reject) => {
            if (whenClosed !== undefined) {
              reject(new Error("the store is closed"));
              return;
            }
            queue.push({ op, resolve, reject });
            next();
          }),
        close: () =>
          new Promise((resolve) => {
            whenClosed = resolve;
            next();
          }),
      };
    },
    crash() {
      isHeld = false;
      if (db.isTransaction) {
        db.exec("ROLLBACK");
      }
    },
    query: (op) => inner.runAll([op])[0] as never,
    close: () => db.close(),
  };
}
