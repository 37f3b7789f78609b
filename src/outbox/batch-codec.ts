import type { ResultOf, StoreOp } from "./store.ts";

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

/** Writes results for the other thread. */
export function encodeResults(ops: readonly StoreOp[], results: OpResult[]): Batch<OpResult> {
  const hasBytes = results.some(
    (outcome, index) => "result" in outcome && resultHasBytes(ops[index], outcome.result),
  );
  return hasBytes ? results : JSON.stringify(results);
}

/** Reads what the other thread wrote. What was undefined is absent. */
export function decode<Item>(batch: Batch<Item>): Item[] {
  return typeof batch === "string" ? (JSON.parse(batch) as Item[]) : batch;
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
