import type { DatabaseSync } from "node:sqlite";
import { deliveryStates } from "./delivery-state.ts";
import type { Lanes } from "./lanes.ts";
import { DamagedDatabaseError } from "./schema.ts";
import type { Rows, StoredDelivery } from "./sqlite-rows.ts";
import type { ClaimedDelivery, ClaimOp, ClaimResult, DeliveryRow, SettleOp, SettleResult } from "./store.ts";

/** What goes beside a claim. */
interface Found {
  claimed: ClaimedDelivery | undefined;
  superseded: DeliveryRow[];
  damaged: DeliveryRow[];
}

/** Prepares the beginning and the end of attempts. */
export function createAttempts(db: DatabaseSync, rows: Rows, lanes: Lanes) {
  // Two ranges: what is due, and what seems to be due later than anything can be.
  const dueTasks = db.prepare(
    `SELECT id, head_seq FROM task WHERE lane = ?1 AND urgent = ?2 AND head_due_ms <= ?3 AND head_due_ms IS NOT NULL
     ORDER BY head_due_ms LIMIT ?4`,
  );
  const misdatedTasks = db.prepare(
    `SELECT id, head_seq FROM task WHERE lane = ?1 AND urgent = ?2 AND head_due_ms > ?3 AND head_due_ms IS NOT NULL
     ORDER BY head_due_ms LIMIT ?4`,
  );
  const nextDue = db.prepare(
    `SELECT min(head_due_ms) AS due FROM task WHERE lane = ? AND urgent = ? AND head_due_ms IS NOT NULL`,
  );
  const attemptFailed = db.prepare(
    `UPDATE delivery SET failure = ?2, in_doubt = max(in_doubt, ?3), own_failures = own_failures + ?4,
       own_failure_ms = iif(?6 = 1 AND own_failure_ms IS NULL, ?5, own_failure_ms) WHERE seq = ?1`,
  );

  // How many have begun in each lane, so that tasks without an outcome get their share.
  const begun = new Map<number, number>();

  // Begins the attempt of a task's first delivery, after putting aside what must
  // not or need not be sent.
  function claimHead(
    task: number,
    first: StoredDelivery | undefined,
    nowMs: number,
    supersede: boolean,
  ): Found {
    const found: Found = { claimed: undefined, superseded: [], damaged: [] };
    let last = 0;
    for (let delivery = first; delivery !== undefined; delivery = rows.firstStored(task)) {
      const { row, isUrgent } = delivery;
      const { seq } = row;
      if (row.state !== deliveryStates.STORED || seq === last) {
        throw damagedQueue(task, seq);
      }
      last = seq;
      if (!delivery.isIntact) {
        const ended = rows.end(delivery, deliveryStates.REJECTED, nowMs, { failure: null });
        found.damaged.push(ended);
        if (row.kind === "outcome" && row.attempts === 0) {
          rows.openTask(task, seq);
        }
      } else if (supersede && isUrgent && row.kind === "status" && row.attempts === 0) {
        found.superseded.push(rows.end(delivery, deliveryStates.SUPERSEDED, nowMs));
      } else {
        found.claimed = rows.begin(delivery, nowMs);
        return found;
      }
      lanes.count(delivery.lane, -1, -row.payloadBytes);
    }
    rows.setHead(task, null, null, nowMs);
    return found;
  }

  function claim({ lane: name, limit, nowMs, maxDelayMs, supersede }: ClaimOp): ClaimResult {
    const result: ClaimResult = { claimed: [], superseded: [], damaged: [], nextDueMs: null };
    const lane = lanes.find(name);
    if (lane === undefined) {
      return result;
    }
    // Says whether there may be more.
    const take = (urgent: 0 | 1, places: number): boolean => {
      const due = places > 0 ? dueTasks.all(lane, urgent, nowMs, places) : [];
      if (due.length < places) {
        due.push(...misdatedTasks.all(lane, urgent, nowMs + maxDelayMs, places - due.length));
      }
      for (const { id, head_seq } of due) {
        const [task, seq] = [Number(id), Number(head_seq)];
        const first = rows.find(seq);
        if (first === undefined) {
          throw damagedQueue(task, seq);
        }
        const { claimed, superseded, damaged } = claimHead(task, first, nowMs, supersede);
        if (claimed !== undefined) {
          result.claimed.push(claimed);
        }
        result.superseded.push(...superseded);
        result.damaged.push(...damaged);
      }
      return due.length === places;
    };

    const before = begun.get(lane) ?? 0;
    // At the end nobody knows how much time is left: outcomes go first, all of them.
    const ordinary = supersede
      ? 0
      : Math.floor((before + limit) / ordinaryEvery) - Math.floor(before / ordinaryEvery);
    const isMore = take(1, limit - ordinary);
    take(0, limit - result.claimed.length);
    if (isMore) {
      take(1, limit - result.claimed.length);
    }
    begun.set(lane, before + result.claimed.length);
    const dueTimes = [1, 0].flatMap((urgent) => (nextDue.get(lane, urgent)?.due as number | null) ?? []);
    result.nextDueMs = dueTimes.length === 0 ? null : Math.min(...dueTimes);
    return result;
  }

  function settle(op: SettleOp): SettleResult {
    const { seq, settlement, nowMs } = op;
    const none: SettleResult = {
      row: undefined,
      next: undefined,
      hasNext: false,
      superseded: [],
      damaged: [],
    };
    const known = rows.takeUnderWay(seq);
    const delivery = settlement.kind === "delivered" && known !== undefined ? known : rows.find(seq);
    if (delivery === undefined || delivery.row.state !== deliveryStates.STORED) {
      return none;
    }
    if (settlement.kind === "again") {
      const { failure, isInDoubt, isOwnFailure, dueMs } = settlement;
      attemptFailed.run(
        seq,
        failure,
        isInDoubt ? 1 : 0,
        isOwnFailure ? 1 : 0,
        nowMs,
        isInDoubt || settlement.isTooEarly === true ? 1 : 0,
      );
      rows.setHead(delivery.task, seq, dueMs, nowMs);
      return { ...none, row: rows.find(seq)?.row };
    }
    const [state, details] =
      settlement.kind === "delivered"
        ? [deliveryStates.DELIVERED, { answer: settlement.answer }]
        : [
            settlement.kind === "rejected" ? deliveryStates.REJECTED : deliveryStates.UNCONFIRMED,
            { failure: settlement.failure },
          ];
    const { row, hasNext } = rows.endHead(delivery, state, nowMs, details);
    if (settlement.kind === "rejected" && settlement.isTaskOpen) {
      rows.openTask(delivery.task, seq);
    }
    lanes.count(delivery.lane, -1, -row.payloadBytes);
    const told = settlement.kind === "delivered" ? undefined : row;
    const next = hasNext ? rows.firstStored(delivery.task) : undefined;
    if (next === undefined) {
      return { ...none, row: told };
    }
    if (!op.claimNext) {
      rows.setHead(delivery.task, next.row.seq, nowMs, nowMs);
      return { ...none, row: told, hasNext: true };
    }
    const { claimed, superseded, damaged } = claimHead(delivery.task, next, nowMs, op.supersede);
    return { row: told, next: claimed, hasNext: false, superseded, damaged };
  }

  return { claim, settle };
}

// Tasks with outcomes go first, but of so many places one is for those without.
const ordinaryEvery = 8;

function damagedQueue(task: number, seq: number): DamagedDatabaseError {
  return new DamagedDatabaseError(`the queue of task ${task} names delivery ${seq}, which is not there`);
}
