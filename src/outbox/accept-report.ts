import type { DatabaseSync } from "node:sqlite";
import { deliveryStates } from "./delivery-state.ts";
import type { Lanes } from "./lanes.ts";
import type { Rows, StoredDelivery, TaskRow } from "./sqlite-rows.ts";
import type { AcceptOp, AcceptResult, DeliveryRow, KeepRefusedOp, Refusal } from "./store.ts";

/**
 * Prepares the taking of reports. The rules, in the order in which they are asked:
 *
 * 1. A request id that came before is answered with what it made then, or refused
 *    when its content is another.
 * 2. A task belongs to the caller who first named it; for others it does not exist.
 * 3. An outcome that equals the one that counts is answered with that one. Another
 *    one is a conflict, unless the one that counts was said in a lost worker's name
 *    and not yet sent: then it gives way.
 * 4. Behind an outcome only logs are taken.
 * 5. There must be room.
 */
export function createAccept(db: DatabaseSync, rows: Rows, lanes: Lanes) {
  const requestById = db.prepare(
    "SELECT content_hash, seq, receipt FROM request WHERE caller = ? AND operation = ? AND request_id = ?",
  );
  const insertRequest = db.prepare(
    "INSERT INTO request (caller, operation, request_id, content_hash, seq) VALUES (?, ?, ?, ?, ?)",
  );
  const queueBehind = db.prepare("UPDATE task SET pending = pending + 1 WHERE id = ?");
  const queueFirst = db.prepare(
    `UPDATE task SET pending = 1, head_seq = ?2, head_due_ms = ?3, in_flight = ?4, touched_ms = ?5 WHERE id = ?1`,
  );
  const setOutcome = db.prepare(
    `UPDATE task SET outcome_tag = ?2, outcome_seq = ?3, outcome_create_ms = ?4, outcome_receipt = NULL, urgent = 1
     WHERE id = ?1`,
  );

  function known(seq: number, receipt: string | null): AcceptResult {
    const row = rows.find(seq)?.row ?? readReceipt(receipt);
    if (row === undefined) {
      throw new Error(`delivery ${seq} and its receipt are gone`);
    }
    return { kind: "known", row };
  }

  function requestBefore({ caller, operation, requestId, contentHash }: AcceptOp): AcceptResult | undefined {
    const before = requestId === "" ? undefined : requestById.get(caller, operation, requestId);
    if (before === undefined) {
      return undefined;
    }
    return before.content_hash === contentHash
      ? known(Number(before.seq), before.receipt as string | null)
      : refuse({ reason: "requestIdReused" });
  }

  // What stands against an outcome: an answer, or a delivery that gives way to it.
  function outcomeBefore(
    task: TaskRow,
    op: AcceptOp,
  ): { answer: AcceptResult } | { givesWay: StoredDelivery } | undefined {
    if (task.outcome_tag === null || task.outcome_seq === null) {
      return undefined;
    }
    const before = rows.find(task.outcome_seq);
    const receipt = before?.row ?? readReceipt(task.outcome_receipt);
    const isGateways = receipt?.isByGateway === true && !op.isByGateway;
    if (before !== undefined && isGateways && before.row.attempts === 0 && before.row.state === stored) {
      return { givesWay: before };
    }
    if (task.outcome_tag === op.delivery.outcomeTag && receipt !== undefined) {
      return { answer: { kind: "known", row: receipt } };
    }
    return {
      answer: refuse({
        reason: "conflictingOutcome",
        isByGateway: isGateways,
        deliveryId: receipt?.id ?? "",
      }),
    };
  }

  function supersede(standing: StoredDelivery, nowMs: number): void {
    rows.end(standing, deliveryStates.SUPERSEDED, nowMs);
    lanes.count(standing.lane, -1, -standing.row.payloadBytes);
    if (standing.isHead) {
      const next = rows.firstStored(standing.task)?.row.seq;
      rows.setHead(standing.task, next ?? null, next === undefined ? null : nowMs, nowMs);
    }
  }

  // The rules that need no room: an answer, or what the others must know.
  function ask(
    op: AcceptOp,
  ): { answer: AcceptResult } | { task: TaskRow | undefined; givesWay: StoredDelivery | undefined } {
    const before = requestBefore(op);
    if (before !== undefined) {
      return { answer: before };
    }
    const { upstream, key, kind } = op.delivery;
    const isOutcome = kind === "outcome";
    const task = rows.findTask(upstream, key);
    if (task !== undefined && task.caller !== op.caller && !op.isByGateway) {
      return { answer: refuse({ reason: "taskUnknown" }) };
    }
    const standing = task !== undefined && isOutcome ? outcomeBefore(task, op) : undefined;
    if (standing !== undefined && "answer" in standing) {
      return standing;
    }
    return task !== undefined && task.outcome_tag !== null && !isOutcome && kind !== "log"
      ? { answer: refuse({ reason: "taskFinished", isByGateway: isOutcomeByGateway(rows, task) }) }
      : { task, givesWay: standing?.givesWay };
  }

  function recall(op: AcceptOp): AcceptResult | undefined {
    const asked = ask(op);
    return "answer" in asked ? asked.answer : undefined;
  }

  function accept(op: AcceptOp): AcceptResult {
    const asked = ask(op);
    if ("answer" in asked) {
      return asked.answer;
    }
    const { delivery, nowMs } = op;
    const { upstream, kind } = delivery;
    const isOutcome = kind === "outcome";
    let { task } = asked;
    const bytes = Buffer.byteLength(delivery.body);
    const limit = lanes.limitExceededBy(upstream, bytes, isOutcome);
    if (limit !== undefined) {
      return refuse({ reason: "full", limit });
    }
    if (asked.givesWay !== undefined) {
      supersede(asked.givesWay, nowMs);
      task = rows.findTask(upstream, delivery.key);
    }

    const lane = task?.lane ?? lanes.findOrAdd(upstream, delivery.lane);
    const id = task?.id ?? rows.addTask(op, lane);
    const isFirst = (task?.pending ?? 0) === 0;
    const leaves = isFirst && op.mayLeave;
    const row = rows.addDelivery(op, id, stored, leaves ? 1 : 0, null);
    lanes.count(lane, 1, bytes);
    if (isFirst) {
      queueFirst.run(id, row.seq, leaves ? null : nowMs, leaves ? 1 : 0, nowMs);
      row.nextAttemptMs = leaves ? null : nowMs;
      if (leaves) {
        rows.keepUnderWay(row, id, lane);
      }
    } else {
      queueBehind.run(id);
    }
    if (isOutcome) {
      setOutcome.run(id, delivery.outcomeTag, row.seq, nowMs);
    }
    if (op.requestId !== "") {
      insertRequest.run(op.caller, op.operation, op.requestId, op.contentHash, row.seq);
    }
    const { target, body } = delivery;
    const outcomeCreateMs = isOutcome ? nowMs : null;
    return {
      kind: "stored",
      row,
      lane: lanes.nameOf(lane),
      isFirst,
      claimed: leaves
        ? { row, target, body, outcomeCreateMs, ownFailures: 0, ownFailureMs: null }
        : undefined,
    };
  }

  function keepRefused({ refused, failure }: KeepRefusedOp): DeliveryRow | undefined {
    const task = rows.findTask(refused.delivery.upstream, refused.delivery.key);
    return task && rows.addDelivery(refused, task.id, deliveryStates.REJECTED, 0, failure);
  }

  return { accept, recall, keepRefused };
}

const stored = deliveryStates.STORED;

/** Says whether a task's outcome was said in a lost worker's name. */
export function isOutcomeByGateway(
  rows: Rows,
  { outcome_seq, outcome_receipt }: Pick<TaskRow, "outcome_seq" | "outcome_receipt">,
): boolean {
  const row = outcome_seq === null ? undefined : rows.find(outcome_seq)?.row;
  return (row ?? readReceipt(outcome_receipt))?.isByGateway === true;
}

/** Writes a row for the time when it is gone. */
export function writeReceipt(row: DeliveryRow): string {
  return JSON.stringify({ ...row, failure: row.failure && Buffer.from(row.failure).toString("base64") });
}

function readReceipt(text: string | null): DeliveryRow | undefined {
  if (text === null) {
    return undefined;
  }
  const receipt = JSON.parse(text) as Omit<DeliveryRow, "failure"> & { failure: string | null };
  return {
    ...receipt,
    failure: receipt.failure === null ? null : Buffer.from(receipt.failure, "base64"),
    // Of one that an older version has written.
    trace: receipt.trace ?? null,
  };
}

function refuse(refusal: Refusal): AcceptResult {
  return { kind: "refused", refusal };
}
