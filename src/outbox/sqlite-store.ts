import { randomBytes } from "node:crypto";
import type { DatabaseSync } from "node:sqlite";
import { createAccept } from "./accept-report.ts";
import { createAttempts } from "./claim-deliveries.ts";
import { doubtFloorMs } from "./doubt-floor.ts";
import { createLanes, type Quota } from "./lanes.ts";
import { createLastOps } from "./last-ops.ts";
import { createLeases } from "./lease-rows.ts";
import { readMeta, writeMeta } from "./meta.ts";
import { createMove } from "./move-delivery.ts";
import { createPrune } from "./prune-store.ts";
import { createQueries } from "./query-deliveries.ts";
import { createRows } from "./sqlite-rows.ts";
import type { AcceptOp, AcceptResult, ResultOf, StoreOp } from "./store.ts";

/** A store on an open database, without threads: each call is one transaction. */
export interface SqliteStore {
  readonly salt: number;
  /** A secret of this store, to sign session ids with. */
  readonly sessionKey: string;
  /** Does the operations in one transaction. Throws, and nothing is done, when it cannot be committed. */
  runAll(ops: readonly StoreOp[]): ResultOf<StoreOp>[];
  /** Answers a report that came before without writing; undefined: it did not. */
  recall(op: AcceptOp): AcceptResult | undefined;
}

/**
 * Creates the store on a database of the current schema, and counts what was under
 * way as in doubt: whoever worked on it is gone.
 *
 * @param nowMs the wall clock
 * @param randomSalt 14 random bits, for a store that is new
 */
export function createSqliteStore(
  db: DatabaseSync,
  quota: Quota,
  nowMs: number,
  randomSalt: number,
): SqliteStore {
  const salt = readSalt(db, randomSalt);
  doubtWhatWasUnderWay(db, nowMs);
  const rows = createRows(db, salt);
  const lanes = createLanes(db, quota);
  const { accept, recall, keepRefused } = createAccept(db, rows, lanes);
  const { claim, settle } = createAttempts(db, rows, lanes);
  const { retry, discard } = createMove(db, rows, lanes);
  const { hasten, undelivered } = createLastOps(db, lanes);
  const prune = createPrune(db, rows);
  const queries = createQueries(db, rows);
  const leases = createLeases(db, rows, lanes);

  function run(op: StoreOp): ResultOf<StoreOp> {
    switch (op.type) {
      case "accept":
        return accept(op);
      case "keepRefused":
        return keepRefused(op);
      case "settle":
        return settle(op);
      case "claim":
        return claim(op);
      case "hasten":
        return hasten(op);
      case "retry":
        return retry(op);
      case "discard":
        return discard(op);
      case "get":
        return rows.find(op.seq)?.row;
      case "list":
        return queries.list(op);
      case "task":
        return leases.standing(op);
      case "beginLease":
        return leases.begin(op);
      case "endLease":
        return leases.end(op);
      case "lease":
        return leases.find(op);
      case "leases":
        return leases.list(op);
      case "acceptedRequests":
        return leases.acceptedRequests(op);
      case "outcome":
        return leases.outcome(op);
      case "waiting":
        return queries.waiting(op);
      case "prune":
        return prune(op);
      case "backlog":
        return lanes.list(op.withAge === true);
      case "undelivered":
        return undelivered();
      case "verify":
        return queries.verify(op);
      default:
        return op satisfies never;
    }
  }

  return {
    salt,
    sessionKey: readSessionKey(db),
    recall,
    runAll(ops) {
      db.exec("BEGIN IMMEDIATE");
      try {
        const results = ops.map(run);
        lanes.flush();
        db.exec("COMMIT");
        return results;
      } catch (error) {
        if (db.isTransaction) {
          db.exec("ROLLBACK");
        }
        lanes.load();
        rows.load();
        throw error;
      }
    },
  };
}

function readSalt(db: DatabaseSync, randomSalt: number): number {
  db.prepare("INSERT INTO meta (name, value) VALUES ('salt', ?) ON CONFLICT DO NOTHING").run(
    String(randomSalt),
  );
  return Number(db.prepare("SELECT value FROM meta WHERE name = 'salt'").get()?.value);
}

function readSessionKey(db: DatabaseSync): string {
  const before = readMeta(db, "session_key");
  const key = before ?? randomBytes(32).toString("base64");
  if (before === undefined) {
    writeMeta(db, "session_key", key);
  }
  return key;
}

function doubtWhatWasUnderWay(db: DatabaseSync, nowMs: number): void {
  db.exec("BEGIN IMMEDIATE");
  db.exec("UPDATE delivery SET in_doubt = 1 WHERE seq IN (SELECT head_seq FROM task WHERE in_flight = 1)");
  // Not at once: the attempt may outlive whoever made it.
  const release = db.prepare(
    "UPDATE task SET in_flight = 0, head_due_ms = ?1, touched_ms = ?3 WHERE in_flight = 1 AND upstream = ?2",
  );
  for (const [upstream, floorMs] of Object.entries(doubtFloorMs)) {
    release.run(nowMs + floorMs, upstream, nowMs);
  }
  db.exec("COMMIT");
}
