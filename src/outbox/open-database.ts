import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { DamagedDatabaseError, migrate } from "./schema.ts";

/** How safe a commit is. FULL is the only one that keeps what was promised; the others are for control runs. */
export type Synchronous = "FULL" | "NORMAL" | "OFF";

/** The name of the database in its directory. */
export const databaseName = "outbox.db";

/**
 * Opens the database of a directory for this process alone, and brings its schema
 * up to date. Throws when another process has it open, or a newer version wrote it.
 */
export function openDatabase(directory: string, synchronous: Synchronous): DatabaseSync {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const path = join(directory, databaseName);
  // SQLite would make it readable for others; its other files take their mode from it.
  closeSync(openSync(path, "a", 0o600));
  const db = new DatabaseSync(path, { enableForeignKeyConstraints: false });
  try {
    // The lock is held until the database is closed or the process is gone.
    db.exec("PRAGMA locking_mode = EXCLUSIVE");
    // Of a new database: only so its file can become smaller again.
    db.exec("PRAGMA auto_vacuum = INCREMENTAL");
    db.exec("PRAGMA journal_mode = WAL");
    db.exec(`PRAGMA synchronous = ${synchronous}`);
    db.exec("PRAGMA cache_size = -65536; PRAGMA temp_store = MEMORY");
    db.exec("BEGIN IMMEDIATE; COMMIT");
    // What a crash left in the log is made whole before anything is added to it.
    db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    migrate(db);
    syncDirectory(directory);
    return db;
  } catch (error) {
    db.close();
    if (resultCodeOf(error) === resultCodes.busy) {
      throw new Error(`the data directory ${directory} is in use by another gateway`, { cause: error });
    }
    throw error;
  }
}

/** Result codes of SQLite that are told apart (https://sqlite.org/rescode.html). */
export const resultCodes = {
  error: 1,
  busy: 5,
  readOnly: 8,
  ioError: 10,
  corrupt: 11,
  full: 13,
  constraint: 19,
  notADatabase: 26,
};

/** The result code of an error that SQLite made; undefined for any other. */
export function resultCodeOf(error: unknown): number | undefined {
  const code = error instanceof Error && "errcode" in error ? error.errcode : undefined;
  return typeof code === "number" ? code & 0xff : undefined;
}

/**
 * Says whether an error of the opening means that the file is damaged: a database of
 * ours that SQLite does not want to read or write, although this process may.
 */
export function isDamageOnOpening(error: unknown): boolean {
  const code = resultCodeOf(error);
  return isDamage(error) || code === resultCodes.error || code === resultCodes.readOnly;
}

/** Says whether an error means that the file is damaged. */
export function isDamage(error: unknown): boolean {
  const code = resultCodeOf(error);
  return (
    error instanceof DamagedDatabaseError || code === resultCodes.corrupt || code === resultCodes.notADatabase
  );
}

/** Where a damaged database of this directory is put aside. */
export function asidePath(directory: string, suffix: string): string {
  return join(directory, `${databaseName}.damaged-${suffix}`);
}

/** Puts the database aside under that path, unless something is there. It must be closed. */
export function setAside(directory: string, aside: string): void {
  if (!existsSync(aside)) {
    for (const part of ["-wal", ""]) {
      if (existsSync(join(directory, databaseName + part))) {
        renameSync(join(directory, databaseName + part), aside + part);
      }
    }
  }
  // Of a rescue that was cut off.
  for (const part of ["", "-wal"]) {
    rmSync(join(directory, databaseName + part), { force: true });
  }
  syncDirectory(directory);
}

// A file is only there after a power loss when its directory was synced as well.
function syncDirectory(directory: string): void {
  const descriptor = openSync(directory, "r");
  fsyncSync(descriptor);
  closeSync(descriptor);
}
