import type { DatabaseSync } from "node:sqlite";
import { deliveryMatches } from "./delivery-matches.ts";
import { DamagedDatabaseError } from "./schema.ts";
import type { Rows } from "./sqlite-rows.ts";
import type { DeliveryRow, ListOp, ListResult, VerifyOp, VerifyResult, WaitingOp } from "./store.ts";

/** Prepares what is read and changes nothing. */
export function createQueries(db: DatabaseSync, rows: Rows) {
  const allAfter = rows.prepareHeaderSelect("WHERE d.seq > ? ORDER BY d.seq LIMIT ?");
  const wholeAfter = rows.prepareSelect("WHERE d.seq > ? ORDER BY d.seq LIMIT ?");
  // Every upstream's keys begin with the task's id and a stroke: an index knows them.
  const ofTask = rows.prepareHeaderSelect(
    `WHERE d.task IN (SELECT id FROM task WHERE upstream IN (SELECT upstream FROM lane)
       AND key > ?1 || '/' AND key < ?1 || '0' AND task_id = ?1) AND d.seq > ?2 ORDER BY d.seq LIMIT ?3`,
  );
  const waitingOutcomes = rows.prepareHeaderSelect(
    `WHERE t.id IN (
         SELECT id FROM task WHERE lane IN (SELECT id FROM lane WHERE upstream = ?1) AND urgent = 1
           AND head_due_ms IS NOT NULL
         UNION ALL
         SELECT id FROM task WHERE in_flight = 1 AND upstream = ?1 AND urgent = 1 AND touched_ms < ?2)
       AND d.seq = t.outcome_seq AND d.seq > ?3 ORDER BY d.seq LIMIT ?4`,
  );

  // Filters are rare: rows that do not fit are read and left out, so many at most
  // that nothing else waits long.
  function list({ filter, afterSeq, limit }: ListOp): ListResult {
    const read =
      filter.taskId === undefined
        ? allAfter.all(afterSeq, maxScannedRows)
        : ofTask.all(filter.taskId, afterSeq, maxScannedRows);
    const found: DeliveryRow[] = [];
    for (const columns of read) {
      if (found.length === limit) {
        return { rows: found, lastSeq: found.at(-1)?.seq ?? null };
      }
      const { row } = rows.read(columns);
      if (deliveryMatches(row, filter)) {
        found.push(row);
      }
    }
    const last = read.length < maxScannedRows ? undefined : read.at(-1);
    return { rows: found, lastSeq: last === undefined ? null : rows.read(last).row.seq };
  }

  // What checksums do not see: a row that no index names is never found.
  function checkIndexes(): void {
    // It reads all of it at once, and a large one would keep everybody waiting.
    if (Number(db.prepare("PRAGMA page_count").get()?.page_count) > maxCheckedPages) {
      return;
    }
    const [first] = db.prepare("PRAGMA integrity_check(1)").all();
    if (first?.integrity_check !== "ok") {
      throw new DamagedDatabaseError(String(first?.integrity_check));
    }
  }

  return {
    list,

    waiting: ({ upstream, begunBeforeMs, afterSeq, limit }: WaitingOp): DeliveryRow[] =>
      waitingOutcomes.all(upstream, begunBeforeMs, afterSeq, limit).map((columns) => rows.read(columns).row),

    verify({ afterSeq, limit }: VerifyOp): VerifyResult {
      const read = wholeAfter.all(afterSeq, limit).map(rows.read);
      if (read.length === 0) {
        checkIndexes();
      }
      return {
        lastSeq: read.at(-1)?.row.seq ?? null,
        damaged: read.filter(({ isIntact }) => !isIntact).map(({ row }) => row.id),
      };
    },
  };
}

const maxScannedRows = 2000;
// 128 MiB.
const maxCheckedPages = 32_768;
