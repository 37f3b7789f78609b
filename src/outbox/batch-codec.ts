import { deliveryStates } from "./delivery-state.ts";
import type { AcceptOp, AcceptResult, DeliveryRow, ResultOf, StoreOp } from "./store.ts";

/** What came of one operation. */
export type OpResult = { result: ResultOf<StoreOp> } | { problem: string };

/**
 * A batch as it goes between the threads: JSON text, which costs a third of what
 * copying the objects does, or the objects where bytes are in them.
 */
export type Batch<Item> = string | Item[];

/** Writes operations for the other thread. */
export function encodeOps(ops: StoreOp[]): Batch<StoreOp> {
  return ops.some(opHasBytes) ? ops : JSON.stringify(ops);
}

/** Reads operations that the other thread wrote. What was undefined is absent. */
export function decodeOps(batch: Batch<StoreOp>): StoreOp[] {
  return parse(batch);
}

/** What came of one operation, without what whoever asked for it knows by itself. */
type SentResult = OpResult | { stored: StoredSummary };

/** Writes results for the other thread. */
export function encodeResults(ops: readonly StoreOp[], results: OpResult[]): Batch<SentResult> {
  const hasBytes = results.some(
    (outcome, index) => "result" in outcome && resultHasBytes(ops[index], outcome.result),
  );
  if (hasBytes) {
    return results;
  }
  return JSON.stringify(
    results.map((outcome, index): SentResult => {
      const stored = ops[index]?.type === "accept" && "result" in outcome ? outcome.result : undefined;
      return isStored(stored) ? { stored: summaryOf(stored) } : outcome;
    }),
  );
}

/** Reads what the other thread wrote of these operations. What was undefined is absent. */
export function decodeResults(ops: readonly StoreOp[], batch: Batch<SentResult>): OpResult[] {
  return parse(batch).map((outcome, index) => {
    if (!("stored" in outcome)) {
      return outcome;
    }
    const op = ops[index];
    if (op?.type !== "accept") {
      throw new Error("what was stored is not what was asked for");
    }
    return { result: storedOf(op, outcome.stored) };
  });
}

function parse<Item>(batch: Batch<Item>): Item[] {
  return typeof batch === "string" ? (JSON.parse(batch) as Item[]) : batch;
}

type Stored = Extract<AcceptResult, { kind: "stored" }>;

// Of a report that was stored, everything else is in the operation.
type StoredSummary = Pick<Stored, "lane" | "isFirst"> &
  Pick<DeliveryRow, "seq" | "id" | "attempts" | "nextAttemptMs" | "payloadBytes"> & { isClaimed: boolean };

function isStored(result: ResultOf<StoreOp>): result is Stored {
  return result !== undefined && "kind" in result && result.kind === "stored";
}

function summaryOf({ row, lane, isFirst, claimed }: Stored): StoredSummary {
  const { seq, id, attempts, nextAttemptMs, payloadBytes } = row;
  return { seq, id, attempts, nextAttemptMs, payloadBytes, lane, isFirst, isClaimed: claimed !== undefined };
}

function storedOf(
  { delivery, operation, caller, isByGateway, trace, nowMs }: AcceptOp,
  stored: StoredSummary,
): Stored {
  const { seq, id, attempts, nextAttemptMs, payloadBytes, lane, isFirst, isClaimed } = stored;
  const { upstream, key, taskId, attempt, kind, target, body } = delivery;
  const row: DeliveryRow = {
    seq,
    id,
    upstream,
    key,
    taskId,
    attempt,
    kind,
    state: deliveryStates.STORED,
    isInDoubt: false,
    attempts,
    createMs: nowMs,
    deliverMs: null,
    endMs: null,
    nextAttemptMs,
    failure: null,
    answer: "",
    operation,
    caller,
    isByGateway,
    payloadBytes,
    trace,
  };
  const outcomeCreateMs = kind === "outcome" ? nowMs : null;
  const claimed = isClaimed
    ? { row, target, body, outcomeCreateMs, ownFailures: 0, ownFailureMs: null }
    : undefined;
  return { kind: "stored", row, lane, isFirst, claimed };
}

function opHasBytes(op: StoreOp): boolean {
  return op.type === "keepRefused" || (op.type === "settle" && op.settlement.kind !== "delivered");
}

type Row = { failure: Uint8Array | null };

// Only what is frequent is looked at; anything else is copied.
function resultHasBytes(op: StoreOp | undefined, result: ResultOf<StoreOp>): boolean {
  switch (op?.type) {
    case "accept":
      return (result as ResultOf<typeof op>).kind === "known";
    case "settle": {
      const { row, next, superseded, damaged } = result as ResultOf<typeof op>;
      return [row, next?.row, ...superseded, ...damaged].some(hasFailure);
    }
    case "claim": {
      const { claimed, superseded, damaged } = result as ResultOf<typeof op>;
      return claimed.some(({ row }) => hasFailure(row)) || [...superseded, ...damaged].some(hasFailure);
    }
    case "task":
    case "beginLease":
    case "endLease":
      return false;
    default:
      return true;
  }
}

function hasFailure(row: Row | undefined): boolean {
  return row !== undefined && row.failure !== null;
}
