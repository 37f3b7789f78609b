import type { DatabaseSync } from "node:sqlite";
import type { LeaseRecord, OnLost, TaskStanding } from "../model/lease.ts";
import { isOutcomeByGateway } from "./accept-report.ts";
import type { Lanes } from "./lanes.ts";
import type { Rows, TaskRow } from "./sqlite-rows.ts";
import type {
  AcceptedRequestsOp,
  BeginLeaseOp,
  BeginLeaseResult,
  EndLeaseOp,
  LeasesOp,
  LeasesResult,
  OutcomeOp,
  OutcomeResult,
  TaskOp,
} from "./store.ts";

const onLostCodes: Record<OnLost, number> = { fail: 1, ignore: 2 };

/**
 * Prepares the keeping of leases. A task has one at most. It counts from its begin
 * until its end or an outcome, and again when that outcome counts no more.
 */
export function createLeases(db: DatabaseSync, rows: Rows, lanes: Lanes) {
  const beginLease = db.prepare(
    `UPDATE task SET session_id = ?2, on_lost = ?3, lost_payload = ?4, lease_begin_ms = ?5, lease_end_ms = NULL,
       touched_ms = ?6 WHERE id = ?1`,
  );
  const endLease = db.prepare(
    `UPDATE task SET lease_end_ms = ?4, touched_ms = ?4 WHERE upstream = ?1 AND key = ?2 AND session_id = ?3 AND lease_end_ms IS NULL`,
  );
  const standingByKey = db.prepare(
    "SELECT caller, outcome_tag, outcome_seq, outcome_receipt, session_id FROM task WHERE upstream = ? AND key = ?",
  );
  const leaseColumns = `SELECT t.id, t.upstream, l.name AS lane, t.key, t.task_id, t.attempt, t.caller,
    t.session_id, t.on_lost, t.lost_payload, t.lease_begin_ms FROM task t JOIN lane l ON l.id = t.lane`;
  // As the index says it, or it is not used.
  const isHeld = "t.lease_begin_ms IS NOT NULL AND t.lease_end_ms IS NULL";
  const leasesAfter = db.prepare(
    `${leaseColumns} WHERE ${isHeld} AND t.outcome_tag IS NULL AND t.id > ? ORDER BY t.id LIMIT ?`,
  );
  const leaseOf = db.prepare(
    `${leaseColumns} WHERE ${isHeld} AND t.outcome_tag IS NULL AND t.upstream = ? AND t.key = ?`,
  );
  const requestsOf = db.prepare(
    `SELECT request_id FROM request WHERE caller = ? AND operation = ? AND request_id > ?3 || '/' AND request_id < ?3 || '0'
     ORDER BY seq DESC LIMIT ?4`,
  );

  const requestOf = db.prepare("SELECT caller, operation, request_id FROM request WHERE seq = ?");

  function standing({ upstream, key }: Pick<TaskOp, "upstream" | "key">): TaskStanding | undefined {
    const task = standingByKey.get(upstream, key) as (TaskRow & { session_id: string | null }) | undefined;
    if (task === undefined) {
      return undefined;
    }
    const saidBy = isOutcomeByGateway(rows, task) ? "gateway" : "worker";
    return {
      caller: task.caller,
      outcomeBy: task.outcome_tag === null ? "nobody" : saidBy,
      sessionId: task.session_id ?? "",
    };
  }

  return {
    standing,

    begin({ lease, nowMs }: BeginLeaseOp): BeginLeaseResult {
      const { task, caller, sessionId, onLost, lostPayload, createMs } = lease;
      const before = standing(task);
      if (before !== undefined && (before.caller !== caller || before.outcomeBy !== "nobody")) {
        return { kind: "refused", standing: before };
      }
      const id =
        rows.findTask(task.upstream, task.key)?.id ??
        rows.addTask({ delivery: task, caller, nowMs }, lanes.findOrAdd(task.upstream, task.lane));
      beginLease.run(id, sessionId, onLostCodes[onLost], lostPayload, createMs, nowMs);
      return { kind: "begun" };
    },

    end({ upstream, key, sessionId, nowMs }: EndLeaseOp): undefined {
      endLease.run(upstream, key, sessionId, nowMs);
      return undefined;
    },

    list({ afterId, limit }: LeasesOp): LeasesResult {
      const read = leasesAfter.all(afterId, limit);
      const last = read.length < limit ? null : Number(read.at(-1)?.id);
      return { leases: read.map(readLease), lastId: last };
    },

    find({ upstream, key }: { upstream: string; key: string }): LeaseRecord | undefined {
      const columns = leaseOf.get(upstream, key);
      return columns && readLease(columns);
    },

    acceptedRequests({ caller, operation, sessionId, limit }: AcceptedRequestsOp): string[] {
      return requestsOf
        .all(caller, operation, sessionId, limit)
        .map(({ request_id }) => String(request_id).slice(sessionId.length + 1))
        .reverse();
    },

    outcome({ upstream, key, caller, operation, sessionId }: OutcomeOp): OutcomeResult | undefined {
      const seq = rows.findTask(upstream, key)?.outcome_seq;
      const found = typeof seq === "number" ? rows.find(seq) : undefined;
      if (found === undefined) {
        return undefined;
      }
      const request = requestOf
        .all(found.row.seq)
        .find((each) => each.caller === caller && each.operation === operation);
      const [of, requestId] = String(request?.request_id ?? "").split(/\/(.*)/s);
      return { row: found.row, requestId: of === sessionId ? (requestId ?? "") : "" };
    },
  };
}

function readLease(columns: Record<string, unknown>): LeaseRecord {
  return {
    task: {
      upstream: String(columns.upstream),
      lane: String(columns.lane),
      key: String(columns.key),
      taskId: String(columns.task_id),
      attempt: String(columns.attempt),
    },
    caller: String(columns.caller),
    sessionId: String(columns.session_id),
    onLost: columns.on_lost === onLostCodes.ignore ? "ignore" : "fail",
    lostPayload: String(columns.lost_payload ?? ""),
    createMs: Number(columns.lease_begin_ms),
  };
}
