import type { DatabaseSync } from "node:sqlite";
import { writeReceipt } from "./accept-report.ts";
import type { Rows } from "./sqlite-rows.ts";
import type { PruneOp, PruneResult } from "./store.ts";

/** Prepares the dropping of what has ended long ago. */
export function createPrune(db: DatabaseSync, rows: Rows) {
  const oldDeliveries = rows.prepareSelect("WHERE d.end_ms < ? ORDER BY d.end_ms LIMIT ?");
  const oldestDeliveries = rows.prepareSelect("WHERE d.end_ms IS NOT NULL ORDER BY d.end_ms LIMIT ?");
  const countEnded = db.prepare("SELECT count(*) AS ended FROM delivery WHERE end_ms IS NOT NULL");
  const keepReceipt = db.prepare("UPDATE request SET receipt = ?2, end_ms = ?3 WHERE seq = ?1");
  const keepOutcome = db.prepare("UPDATE task SET outcome_receipt = ?3 WHERE id = ?1 AND outcome_seq = ?2");
  const deleteDelivery = db.prepare("DELETE FROM delivery WHERE seq = ?");
  const deleteRequests = db.prepare(
    `DELETE FROM request WHERE (caller, operation, request_id) IN
       (SELECT caller, operation, request_id FROM request WHERE end_ms < ? LIMIT ?)`,
  );
  const deleteTasks = db.prepare(
    `DELETE FROM task WHERE id IN (SELECT id FROM task t WHERE pending = 0 AND touched_ms < ?
       AND (lease_begin_ms IS NULL OR lease_end_ms IS NOT NULL OR outcome_tag IS NOT NULL)
       AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.task = t.id) LIMIT ?)`,
  );

  return function prune(op: PruneOp): PruneResult {
    const { deliveriesBeforeMs, maxEnded, recordsBeforeMs, maxRows } = op;
    let old = oldDeliveries.all(deliveriesBeforeMs, maxRows);
    if (old.length < maxRows) {
      const tooMany = Number(countEnded.get()?.ended) - maxEnded;
      if (tooMany > old.length) {
        old = oldestDeliveries.all(Math.min(tooMany, maxRows));
      }
    }
    for (const columns of old) {
      const { row, task } = rows.read(columns);
      const receipt = writeReceipt(row);
      keepReceipt.run(row.seq, receipt, row.endMs);
      keepOutcome.run(task, row.seq, receipt);
      deleteDelivery.run(row.seq);
    }
    const requests = Number(deleteRequests.run(recordsBeforeMs, maxRows).changes);
    const tasks = Number(deleteTasks.run(recordsBeforeMs, maxRows).changes);
    return { isMore: [old.length, requests, tasks].some((count) => count >= maxRows) };
  };
}
