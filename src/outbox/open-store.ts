import { randomInt } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import { createBallast } from "./ballast.ts";
import type { Quota } from "./lanes.ts";
import { dropMeta, readMeta, writeMeta } from "./meta.ts";
import {
  asidePath,
  isDamage,
  isDamageOnOpening,
  openDatabase,
  resultCodeOf,
  resultCodes,
  type Synchronous,
  setAside,
} from "./open-database.ts";
import { runOnFullDisk } from "./run-on-full-disk.ts";
import { salvage } from "./salvage.ts";
import { createSqliteStore, type SqliteStore } from "./sqlite-store.ts";
import type { ResultOf, StoreOp, VerifyOp } from "./store.ts";

export interface OpenStoreOptions {
  directory: string;
  synchronous: Synchronous;
  quota: Quota;
  /** The wall clock. */
  nowMs: number;
  /** Leave word of what is found for the next one who opens it, who serves. Default: no. */
  isVisit?: boolean;
}

/** The store of a directory. */
export interface OpenedStore extends SqliteStore {
  /** What an operator must be told: the database was damaged, and what became of it. */
  damage: string | undefined;
  /** Since somebody who had it open did not close it, nobody has read all of it with `verify`. */
  wasUnclean: boolean;
  /** Says whether nothing that is stored after this error would be safe. */
  isFatal(error: unknown): boolean;
  close(): void;
}

/**
 * Opens the store of a directory. A damaged database is put aside and what can be
 * read of it is saved. When the disk is full, new reports are refused and what is
 * stored can still be delivered.
 */
export function openStore(options: OpenStoreOptions): OpenedStore {
  const { directory, quota, nowMs, isVisit = false } = options;
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const ballast = createBallast(directory);
  const { db, store, found } = orWithoutBallast(() => openOrSalvage(options));
  const damage = found ?? readMeta(db, "damage");
  const wasUnclean = readMeta(db, "open") === "1";
  orWithoutBallast(() => {
    writeMeta(db, "open", "1");
    noteDamage(db, isVisit ? damage : undefined);
  });
  ballast.restore();
  const runAll = runOnFullDisk(db, store, ballast);
  let isVerified = false;
  // To empty the log must take no more than the ballast can give.
  const logPages = Math.min(maxLogPages, Math.floor(ballast.size / 2 / pageBytes));
  db.exec(`PRAGMA wal_autocheckpoint = ${Math.max(100, logPages)}`);

  return {
    salt: store.salt,
    sessionKey: store.sessionKey,
    damage,
    wasUnclean,
    recall: store.recall,
    runAll(ops) {
      const results = runAll(ops);
      if (wasUnclean && !isVerified) {
        isVerified = ops.some((op, index) => op.type === "verify" && isLast(results[index]));
      }
      return results;
    },
    isFatal(error) {
      if (isDamage(error)) {
        writeFileSync(join(directory, damageMark), "");
        return true;
      }
      // After a failed sync nobody knows what of the log is on the disk.
      return resultCodeOf(error) === resultCodes.ioError;
    },
    close() {
      if (!wasUnclean || isVerified) {
        writeMeta(db, "open", "0");
      }
      db.close();
    },
  };

  // A full disk must not keep what is stored from being delivered.
  function orWithoutBallast<Result>(run: () => Result): Result {
    try {
      return run();
    } catch (error) {
      if (resultCodeOf(error) !== resultCodes.full) {
        throw error;
      }
      ballast.drop();
      return run();
    }
  }

  function openOrSalvage({ synchronous }: OpenStoreOptions) {
    const create = (database: DatabaseSync) => createSqliteStore(database, quota, nowMs, randomInt(2 ** 14));
    const mark = join(directory, damageMark);
    let opened: DatabaseSync | undefined;
    try {
      if (!existsSync(mark)) {
        opened = openDatabase(directory, synchronous);
        return { db: opened, store: create(opened), found: undefined };
      }
    } catch (error) {
      opened?.close();
      if (!isDamageOnOpening(error)) {
        throw error;
      }
    }
    // The mark stays, with the name, until the rescue is on the disk: it can be cut off.
    const begun = existsSync(mark) ? readFileSync(mark, "utf8") : "";
    const aside = begun === "" ? asidePath(directory, String(nowMs)) : begun;
    writeFileSync(mark, aside);
    setAside(directory, aside);
    const database = openDatabase(directory, synchronous);
    const { saved, damaged, isPartial } = salvage(aside, database, nowMs);
    const store = create(database);
    rmSync(mark, { force: true });
    const kept = `${saved} waiting deliveries were saved from it, ${damaged} were damaged`;
    return {
      db: database,
      store,
      found: `the database was damaged and is now ${aside}: ${kept}${isPartial ? ", and parts of it could not be read" : ""}`,
    };
  }
}

function isLast(result: ResultOf<StoreOp>): boolean {
  return (result as ResultOf<VerifyOp> | undefined)?.lastSeq === null;
}

// Told by everybody who opens it until one who serves has.
function noteDamage(db: DatabaseSync, damage: string | undefined): void {
  if (damage === undefined) {
    dropMeta(db, "damage");
  } else {
    writeMeta(db, "damage", damage);
  }
}

const pageBytes = 4096;
const maxLogPages = 1000;

// Left by one who found the database damaged while it served.
const damageMark = "damaged";
