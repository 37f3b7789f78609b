import type { DatabaseSync } from "node:sqlite";
import type { Ballast } from "./ballast.ts";
import { resultCodeOf, resultCodes } from "./open-database.ts";
import type { SqliteStore } from "./sqlite-store.ts";
import type { AcceptOp, BeginLeaseOp, ResultOf, StoreOp } from "./store.ts";

/**
 * Runs operations also while the disk is full: what is stored can be delivered and
 * asked about, new reports are refused, and outcomes and leases may use a part of the
 * ballast.
 */
export function runOnFullDisk(
  db: DatabaseSync,
  store: Pick<SqliteStore, "runAll" | "recall">,
  ballast: Ballast,
): SqliteStore["runAll"] {
  let isFull = false;
  let checkedMs = 0;

  function isRefused(op: StoreOp): op is AcceptOp | BeginLeaseOp {
    switch (op.type) {
      case "accept":
        return op.delivery.kind !== "outcome" || !ballast.hasRoom();
      case "beginLease":
        return !ballast.hasRoom();
      default:
        return false;
    }
  }

  // What was accepted before is answered without room.
  function refusalOf(op: AcceptOp | BeginLeaseOp): ResultOf<AcceptOp | BeginLeaseOp> {
    return op.type === "accept" ? (store.recall(op) ?? diskFull) : { kind: "full" };
  }

  function runWhileFull(ops: readonly StoreOp[]): ResultOf<StoreOp>[] {
    const refused = new Map(ops.filter(isRefused).map((op) => [op as StoreOp, op]));
    const results = store.runAll(ops.filter((op) => !refused.has(op)));
    return ops.map((op) => {
      const refusedOp = refused.get(op);
      return refusedOp === undefined ? results.shift() : refusalOf(refusedOp);
    });
  }

  // What was delivered has left room inside of the file, which is given back.
  function tryToRecover(): void {
    checkedMs = performance.now();
    db.exec(`PRAGMA incremental_vacuum(${vacuumPages})`);
    db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
    isFull = !ballast.restore();
  }

  return (ops) => {
    try {
      if (isFull && performance.now() - checkedMs > recoverIntervalMs) {
        tryToRecover();
      }
      return isFull ? runWhileFull(ops) : store.runAll(ops);
    } catch (error) {
      if (resultCodeOf(error) !== resultCodes.full) {
        throw error;
      }
      isFull = true;
      checkedMs = performance.now();
      ballast.drop();
      // The log is what can be made smaller at once.
      db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
      return runWhileFull(ops);
    }
  };
}

const recoverIntervalMs = 1000;
const vacuumPages = 1000;

const diskFull: ResultOf<AcceptOp> = {
  kind: "refused",
  refusal: { reason: "full", limit: "the disk is full" },
};
