import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { DeliveryState } from "../../gen/taskgate/v1/receipt_pb.ts";
import { createChurnMap } from "../model/churn-map.ts";
import type { DeliveryKind } from "../model/delivery.ts";
import { deliveryIdOf } from "./delivery-id.ts";
import { deliveryStates } from "./delivery-state.ts";
import { type ChecksummedFields, checksumOf } from "./row-checksum.ts";
import type { AcceptOp, ClaimedDelivery, DeliveryRow } from "./store.ts";

/** A task as the rules of acceptance and order see it. */
export interface TaskRow {
  readonly id: number;
  readonly lane: number;
  readonly caller: string;
  readonly outcome_tag: string | null;
  readonly outcome_seq: number | null;
  readonly outcome_receipt: string | null;
  readonly pending: number;
}

/** A delivery with its payload and what the rules need of it. */
export interface StoredDelivery extends ClaimedDelivery {
  readonly task: number;
  readonly lane: number;
  /** Its task's first delivery that waits. */
  readonly isHead: boolean;
  readonly isInFlight: boolean;
  readonly isUrgent: boolean;
  readonly outcomeTag: string;
  /** What is stored is what was accepted. */
  readonly isIntact: boolean;
}

/** What first names a task: a report, or a lease. */
type NamingOfTask = Pick<AcceptOp, "caller" | "nowMs"> & {
  readonly delivery: Pick<AcceptOp["delivery"], "upstream" | "key" | "taskId" | "attempt">;
};

/** What is needed of a delivery to end it. */
export type EndingDelivery = Pick<StoredDelivery, "row" | "task" | "lane" | "target" | "body" | "isIntact">;

/** What is written of an end besides its state. Default: no answer, and the failure that there is. */
interface EndDetails {
  answer?: string;
  failure?: Uint8Array | null;
}

type Columns = readonly (null | number | bigint | string | Uint8Array)[];

const kinds: readonly DeliveryKind[] = ["status", "output", "log", "outcome"];
const stored = deliveryStates.STORED;

// In the order in which `readDelivery` takes them.
const deliveryColumns = `d.seq, d.task, d.kind, d.state, d.in_doubt, d.attempts, d.own_failures, d.own_failure_ms,
  d.by_gateway, d.operation, d.caller, d.outcome_tag, d.target, d.body, d.payload_bytes, d.create_ms, d.deliver_ms,
  d.end_ms, d.failure, d.answer, d.trace_parent, d.trace_state, d.checksum, t.upstream, t.key, t.lane, t.task_id, t.attempt, t.head_seq,
  t.head_due_ms, t.in_flight, t.urgent, t.outcome_create_ms
  FROM delivery d JOIN task t ON t.id = d.task`;

const headerColumns = deliveryColumns
  .replace("d.target, d.body", "'', ''")
  .replace("d.answer,", "'',")
  .replace("d.checksum", "0");

/** The statements on tasks and deliveries, prepared once. */
export type Rows = ReturnType<typeof createRows>;

/** Prepares the statements. `salt` tells this store's delivery ids from others'. */
export function createRows(db: DatabaseSync, salt: number) {
  const taskByKey = db.prepare(
    `SELECT id, lane, caller, outcome_tag, outcome_seq, outcome_receipt, pending FROM task WHERE upstream = ? AND key = ?`,
  );
  const insertTask = db.prepare(
    `INSERT INTO task (upstream, key, lane, task_id, attempt, caller, touched_ms) VALUES (?, ?, ?, ?, ?, ?, ?)`,
  );
  const insertDelivery = db.prepare(
    `INSERT INTO delivery (seq, task, kind, state, attempts, by_gateway, operation, caller, outcome_tag, target, body,
       payload_bytes, create_ms, end_ms, failure, trace_parent, trace_state, checksum)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  );
  // As arrays, which are made in half the time of objects with thirty names.
  function prepareArrays(sql: string): StatementSync {
    const statement = db.prepare(sql);
    statement.setReturnArrays(true);
    return statement;
  }
  const deliveryBySeq = prepareArrays(`SELECT ${deliveryColumns} WHERE d.seq = ?`);
  const nextStored = prepareArrays(
    `SELECT ${deliveryColumns} WHERE d.task = ? AND d.state = ${stored} ORDER BY seq LIMIT 1`,
  );
  const setHead = db.prepare(
    "UPDATE task SET head_seq = ?, head_due_ms = ?, in_flight = ?, touched_ms = ? WHERE id = ?",
  );
  const selectHead = db.prepare("SELECT head_seq, in_flight FROM task WHERE id = ?");
  const beginAttempt = db.prepare("UPDATE delivery SET attempts = attempts + 1 WHERE seq = ?");
  // A payload that cannot be sent again is not kept.
  const setEnd = db.prepare(
    `UPDATE delivery SET state = ?2, end_ms = ?3, deliver_ms = ?4, failure = ?5, answer = ?6,
       body = ?7, target = ?8, checksum = ?9 WHERE seq = ?1`,
  );
  const afterEnd = db.prepare(
    `UPDATE task SET pending = pending - ?4, urgent = iif(outcome_seq = ?2, 0, urgent), touched_ms = ?3 WHERE id = ?1`,
  );
  // The same and out of the queue, in one statement: each costs, and all keep the indexes.
  const leaveQueue = prepareArrays(
    `UPDATE task SET pending = pending - 1, urgent = iif(outcome_seq = ?2, 0, urgent), head_seq = NULL,
       head_due_ms = NULL, in_flight = 0, touched_ms = ?3 WHERE id = ?1 RETURNING pending`,
  );
  const setChecksum = db.prepare("UPDATE delivery SET checksum = ? WHERE seq = ?");
  const openTask = db.prepare(
    `UPDATE task SET outcome_tag = NULL, outcome_seq = NULL, outcome_create_ms = NULL, urgent = 0
     WHERE id = ? AND outcome_seq = ?`,
  );

  // Ends a delivery, and leaves its task as it is.
  function endDelivery(
    { row, body: payload, target: way, isIntact }: EndingDelivery,
    state: DeliveryState,
    nowMs: number,
    { answer = "", failure = row.failure }: EndDetails,
  ): DeliveryRow {
    const deliverMs = state === deliveryStates.DELIVERED ? nowMs : null;
    const isKept = state === deliveryStates.REJECTED || state === deliveryStates.UNCONFIRMED;
    const lastFailure = state === deliveryStates.DELIVERED ? null : failure;
    const body = isKept ? payload : "";
    const target = isKept ? way : "";
    // Of damage it stays wrong, so that nobody sends it by hand.
    const checksum = isIntact ? checksumOf(checksummed(row, state, target, body)) : 0;
    setEnd.run(row.seq, state, nowMs, deliverMs, lastFailure, answer, body, target, checksum);
    return {
      ...row,
      state,
      deliverMs,
      endMs: nowMs,
      nextAttemptMs: null,
      failure: lastFailure,
      answer,
      isInDoubt: false,
    };
  }

  // The types of Node do not know that a row may be an array.
  function read(columns: Record<string, unknown>): StoredDelivery {
    return readDelivery(columns as unknown as Columns, salt);
  }

  function find(seq: number): StoredDelivery | undefined {
    const columns = deliveryBySeq.get(seq);
    return columns && read(columns);
  }

  // Nothing changes a delivery while an attempt of it is under way: it need not be
  // read again when it was taken.
  const underWay = createChurnMap<number, EndingDelivery>();
  function keepUnderWay(row: DeliveryRow, task: number, lane: number): void {
    underWay.set(row.seq, { row, task, lane, target: "", body: "", isIntact: true });
  }

  // Given here, and not by the database, so that the checksum can hold it.
  const lastSeq = db.prepare("SELECT seq FROM sqlite_sequence WHERE name = 'delivery'");
  let lastGiven = 0;
  function load(): void {
    lastGiven = Number(lastSeq.get()?.seq ?? 0);
    underWay.clear();
  }

  load();
  return {
    salt,
    find,
    /** Reads anew what is kept beside the database, after a transaction was undone. */
    load,

    findTask: (upstream: string, key: string) => taskByKey.get(upstream, key) as TaskRow | undefined,

    /** Adds a task and returns its number. */
    addTask({ delivery, caller, nowMs }: NamingOfTask, lane: number): number {
      const { upstream, key, taskId, attempt } = delivery;
      return Number(insertTask.run(upstream, key, lane, taskId, attempt, caller, nowMs).lastInsertRowid);
    },

    /** Adds a delivery and returns it. */
    addDelivery(
      op: AcceptOp,
      task: number,
      state: DeliveryState,
      attempts: number,
      failure: Uint8Array | null,
    ): DeliveryRow {
      const { delivery, operation, caller, isByGateway, trace, nowMs: createMs } = op;
      const { target, body, upstream, key, taskId, attempt } = delivery;
      const kind = kinds.indexOf(delivery.kind);
      const payloadBytes = Buffer.byteLength(body);
      const endMs = state === stored ? null : createMs;
      lastGiven += 1;
      const seq = lastGiven;
      insertDelivery.run(
        seq,
        task,
        kind,
        state,
        attempts,
        isByGateway ? 1 : 0,
        operation,
        caller,
        delivery.outcomeTag,
        target,
        body,
        payloadBytes,
        createMs,
        endMs,
        failure,
        trace?.traceparent ?? null,
        trace?.tracestate ?? null,
        checksumOf({ seq, upstream, key, taskId, attempt, kind, state, target, body, createMs }),
      );
      return {
        seq,
        id: deliveryIdOf(seq, createMs, salt),
        upstream,
        key,
        taskId,
        attempt,
        kind: delivery.kind,
        state,
        isInDoubt: false,
        attempts,
        createMs,
        deliverMs: null,
        endMs,
        nextAttemptMs: null,
        failure,
        answer: "",
        operation,
        caller,
        isByGateway,
        payloadBytes,
        trace,
      };
    },

    /** The first delivery of a task that waits. */
    firstStored(task: number): StoredDelivery | undefined {
      const columns = nextStored.get(task);
      return columns && read(columns);
    },

    keepUnderWay,

    /** A delivery under way, without its payload. Undefined: there is none, or it must be read. */
    takeUnderWay(seq: number): EndingDelivery | undefined {
      const delivery = underWay.get(seq);
      underWay.delete(seq);
      return delivery;
    },

    /** Says which delivery of a task is first and when it is due, or that an attempt of it is under way (`null`). */
    setHead(task: number, seq: number | null, dueMs: number | null, nowMs: number): void {
      setHead.run(seq, dueMs, seq !== null && dueMs === null ? 1 : 0, nowMs, task);
    },

    /** Records an attempt as begun. */
    begin(delivery: StoredDelivery, nowMs: number): ClaimedDelivery {
      const { row, target, body, outcomeCreateMs, ownFailures, ownFailureMs, isUrgent } = delivery;
      beginAttempt.run(row.seq);
      setHead.run(row.seq, null, 1, nowMs, delivery.task);
      const begun = { ...row, attempts: row.attempts + 1, nextAttemptMs: null };
      keepUnderWay(begun, delivery.task, delivery.lane);
      return {
        row: begun,
        target,
        body,
        outcomeCreateMs: isUrgent ? outcomeCreateMs : null,
        ownFailures,
        ownFailureMs,
      };
    },

    /** Ends a delivery. It does not look for the next one. */
    end(
      delivery: EndingDelivery,
      state: DeliveryState,
      nowMs: number,
      details: EndDetails = {},
    ): DeliveryRow {
      const { row, task } = delivery;
      const ended = endDelivery(delivery, state, nowMs, details);
      afterEnd.run(task, row.seq, nowMs, row.state === stored ? 1 : 0);
      return ended;
    },

    /**
     * Ends the delivery that an attempt was under way of; the task's queue then has no head.
     * Says whether others wait, by the count that the task keeps.
     */
    endHead(
      delivery: EndingDelivery,
      state: DeliveryState,
      nowMs: number,
      details: EndDetails,
    ): { row: DeliveryRow; hasNext: boolean } {
      const { row, task } = delivery;
      const ended = endDelivery(delivery, state, nowMs, details);
      const left = leaveQueue.get(task, row.seq, nowMs) as Columns | undefined;
      return { row: ended, hasNext: left !== undefined && left[0] !== 0 };
    },

    /** The first delivery in the task's queue, and whether an attempt of it is under way. */
    headOf(task: number): { seq: number | null; isInFlight: boolean } {
      const head = selectHead.get(task);
      return { seq: (head?.head_seq ?? null) as number | null, isInFlight: head?.in_flight === 1 };
    },

    /** Writes the checksum of a delivery that waits again. */
    stored(delivery: StoredDelivery): void {
      const { row, target, body } = delivery;
      setChecksum.run(checksumOf(checksummed(row, stored, target, body)), row.seq);
    },

    /** Takes away that a delivery is its task's outcome: another one is welcome. */
    openTask(task: number, seq: number): void {
      openTask.run(task, seq);
    },

    read,

    /** Prepares a query of deliveries that `read` can read. */
    prepareSelect: (conditions: string) => prepareArrays(`SELECT ${deliveryColumns} ${conditions}`),
    /** The same without payloads, which may be large; what it reads is not intact. */
    prepareHeaderSelect: (conditions: string) => prepareArrays(`SELECT ${headerColumns} ${conditions}`),
  };
}

function readDelivery(columns: Columns, salt: number): StoredDelivery {
  // What is damaged may be of any type, whatever the schema says.
  // biome-ignore format: one line of the query each
  const [
    seqColumn, task, kindColumn, stateColumn, inDoubt, attempts, ownFailures, ownFailureMs,
    byGateway, operation, caller, outcomeTag, targetColumn, bodyColumn, payloadBytes, createColumn, deliverMs,
    endMs, failure, answer, traceParent, traceState, checksum, upstream, key, lane, taskId, attempt, headSeq,
    headDueMs, inFlight, urgent, outcomeCreateMs,
  ] = columns;
  const seq = Number(seqColumn);
  const createMs = Number(createColumn);
  const kind = Number(kindColumn);
  const target = String(targetColumn);
  const body = String(bodyColumn);
  const isHead = headSeq === seq;
  const state = Number(stateColumn) as DeliveryState;
  const row: DeliveryRow = {
    seq,
    id: deliveryIdOf(seq, createMs, salt),
    upstream: String(upstream),
    key: String(key),
    taskId: String(taskId),
    attempt: String(attempt),
    kind: kinds[kind] ?? "output",
    state,
    isInDoubt: inDoubt === 1 && (state === stored || state === deliveryStates.DISCARDED),
    attempts: Number(attempts),
    createMs,
    deliverMs: deliverMs as number | null,
    endMs: endMs as number | null,
    nextAttemptMs: isHead ? (headDueMs as number | null) : null,
    failure: failure as Uint8Array | null,
    answer: String(answer),
    operation: String(operation),
    caller: String(caller),
    isByGateway: byGateway === 1,
    payloadBytes: Number(payloadBytes),
    trace:
      traceParent === null
        ? null
        : { traceparent: String(traceParent), tracestate: String(traceState ?? "") },
  };
  return {
    row,
    task: Number(task),
    lane: Number(lane),
    target,
    body,
    isHead,
    isInFlight: isHead && inFlight === 1,
    isUrgent: urgent === 1,
    outcomeTag: String(outcomeTag),
    outcomeCreateMs: outcomeCreateMs as number | null,
    ownFailures: Number(ownFailures),
    ownFailureMs: ownFailureMs as number | null,
    isIntact: kind in kinds && checksumOf(checksummed(row, row.state, target, body)) === checksum,
  };
}

function checksummed(
  row: DeliveryRow,
  state: DeliveryState,
  target: string,
  body: string,
): ChecksummedFields {
  const { seq, upstream, key, taskId, attempt, createMs } = row;
  return {
    seq,
    upstream,
    key,
    taskId,
    attempt,
    kind: kinds.indexOf(row.kind),
    state,
    target,
    body,
    createMs,
  };
}
