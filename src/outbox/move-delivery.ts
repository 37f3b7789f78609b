import type { DatabaseSync } from "node:sqlite";
import { deliveryStates, stateName } from "./delivery-state.ts";
import { doubtFloorMs } from "./doubt-floor.ts";
import type { Lanes } from "./lanes.ts";
import type { Rows, StoredDelivery } from "./sqlite-rows.ts";
import type { MoveOp, MoveResult } from "./store.ts";

/** Prepares what an operator does with a delivery. */
export function createMove(db: DatabaseSync, rows: Rows, lanes: Lanes) {
  // Logs may arrive behind anything.
  const laterHasLeft = db.prepare(
    `SELECT 1 FROM delivery WHERE task = ? AND seq > ? AND kind <> 2
       AND (attempts > 0 OR state IN (${deliveryStates.DELIVERED}, ${deliveryStates.UNCONFIRMED})) LIMIT 1`,
  );
  const laterWaits = db.prepare(
    `SELECT 1 FROM delivery WHERE task = ? AND seq > ? AND kind <> 2 AND state = ${deliveryStates.STORED} LIMIT 1`,
  );
  const storeAgain = db.prepare(
    `UPDATE delivery SET state = ${deliveryStates.STORED}, end_ms = NULL, own_failures = 0, own_failure_ms = NULL,
       in_doubt = iif(state = ${deliveryStates.UNCONFIRMED}, 1, in_doubt) WHERE seq = ?`,
  );
  const queue = db.prepare("UPDATE task SET pending = pending + 1, touched_ms = ? WHERE id = ?");
  const taskTimes = db.prepare("SELECT touched_ms, head_due_ms FROM task WHERE id = ?");
  const setDoubt = db.prepare("UPDATE delivery SET in_doubt = ? WHERE seq = ?");
  const taskOutcome = db.prepare("SELECT outcome_seq FROM task WHERE id = ?");
  const setOutcome = db.prepare(
    "UPDATE task SET outcome_tag = ?2, outcome_seq = ?3, outcome_create_ms = ?4, urgent = 1 WHERE id = ?1",
  );

  // How long the last attempt may still be under way upstream. A task is touched when
  // an attempt of it ends; a clock that was set back must not make it an age.
  function doubtLeftMs({ row, task }: StoredDelivery, nowMs: number): number {
    const sinceMs = nowMs - Number(taskTimes.get(task)?.touched_ms);
    const floorMs = doubtFloorMs[row.upstream] ?? 0;
    return row.isInDoubt && Math.abs(sinceMs) < floorMs ? floorMs - sinceMs : 0;
  }

  function retry({ seq, nowMs }: MoveOp): MoveResult {
    const delivery = rows.find(seq);
    if (delivery === undefined) {
      return { kind: "unknown" };
    }
    const { row, task, lane } = delivery;
    const name = lanes.nameOf(lane);
    if (row.state === deliveryStates.STORED) {
      if (delivery.isHead && !delivery.isInFlight) {
        const dueMs = Number(taskTimes.get(task)?.head_due_ms);
        rows.setHead(task, seq, Math.min(dueMs, nowMs + doubtLeftMs(delivery, nowMs)), nowMs);
      }
      return { kind: "moved", row: rows.find(seq)?.row ?? row, lane: name };
    }
    if (row.state !== deliveryStates.REJECTED && row.state !== deliveryStates.UNCONFIRMED) {
      return { kind: "refused", why: `it is ${stateName(row.state)}` };
    }
    if (!delivery.isIntact) {
      return { kind: "refused", why: "its checksum does not match" };
    }
    if (row.kind !== "log" && laterHasLeft.get(task, seq) !== undefined) {
      return { kind: "refused", why: "a later delivery of the task has left" };
    }
    if (row.kind === "outcome") {
      const standing = taskOutcome.get(task)?.outcome_seq;
      if (standing !== null && standing !== seq) {
        return { kind: "refused", why: "the task has another outcome" };
      }
      if (laterWaits.get(task, seq) !== undefined) {
        return { kind: "refused", why: "later reports of the task wait" };
      }
      setOutcome.run(task, delivery.outcomeTag, seq, nowMs);
    }
    storeAgain.run(seq);
    rows.stored(delivery);
    queue.run(nowMs, task);
    lanes.count(lane, 1, row.payloadBytes);
    lanes.waitsAgain(lane, seq);
    const head = rows.headOf(task);
    if (!head.isInFlight && (head.seq === null || head.seq > seq)) {
      rows.setHead(task, seq, nowMs, nowMs);
    }
    return { kind: "moved", row: rows.find(seq)?.row ?? row, lane: name };
  }

  function discard({ seq, nowMs }: MoveOp): MoveResult {
    const delivery = rows.find(seq);
    if (delivery === undefined) {
      return { kind: "unknown" };
    }
    const { row, task, lane } = delivery;
    const name = lanes.nameOf(lane);
    if (row.state === deliveryStates.DISCARDED) {
      return { kind: "moved", row, lane: name };
    }
    if (row.state === deliveryStates.DELIVERED || row.state === deliveryStates.SUPERSEDED) {
      return { kind: "refused", why: `it is ${stateName(row.state)}` };
    }
    if (delivery.isInFlight) {
      return { kind: "refused", why: "an attempt of it is under way" };
    }
    // Another outcome would overtake it.
    const leftMs = doubtLeftMs(delivery, nowMs);
    if (leftMs > 0) {
      const seconds = Math.ceil(leftMs / 1000);
      return { kind: "refused", why: `its last attempt may still be under way, for ${seconds} s at most` };
    }
    const isWaiting = row.state === deliveryStates.STORED;
    rows.end(delivery, deliveryStates.DISCARDED, nowMs);
    // What may have been taken stays visible as such.
    const mayBeTaken = row.isInDoubt || row.state === deliveryStates.UNCONFIRMED;
    setDoubt.run(mayBeTaken ? 1 : 0, seq);
    // One that may have been taken ends its task for good.
    if (row.kind === "outcome" && row.state !== deliveryStates.UNCONFIRMED) {
      rows.openTask(task, seq);
    }
    if (isWaiting) {
      lanes.count(lane, -1, -row.payloadBytes);
      if (delivery.isHead) {
        const next = rows.firstStored(task)?.row.seq;
        rows.setHead(task, next ?? null, next === undefined ? null : nowMs, nowMs);
      }
    }
    return { kind: "moved", row: rows.find(seq)?.row ?? row, lane: name };
  }

  return { retry, discard };
}
