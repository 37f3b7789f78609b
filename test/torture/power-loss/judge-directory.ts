import { DeliveryState } from "../../../gen/taskgate/v1/receipt_pb.ts";
import { type OpenedStore, openStore } from "../../../src/outbox/open-store.ts";
import type { ClaimResult, ListResult, VerifyResult } from "../../../src/outbox/store.ts";

/** What the writer stores as its n-th report. */
export function bodyOf(index: number): string {
  return JSON.stringify({ index, payload: `${index} `.repeat(index % 7 === 0 ? 4000 : 50 + (index % 90)) });
}

/** What the lines of the writer's log promise. */
export interface Promised {
  stored: Map<number, { id: string; index: number }>;
  delivered: Set<number>;
  isFatal: boolean;
  isDone: boolean;
}

export function readPromises(lines: readonly string[]): Promised {
  const promised: Promised = { stored: new Map(), delivered: new Set(), isFatal: false, isDone: false };
  for (const line of lines) {
    const [word, seq, id, index] = line.split(" ");
    if (word === "stored") {
      promised.stored.set(Number(seq), { id: id ?? "", index: Number(index) });
    } else if (word === "delivered") {
      promised.delivered.add(Number(seq));
    } else if (word === "fatal") {
      promised.isFatal = true;
    } else if (word === "done") {
      promised.isDone = true;
    }
  }
  return promised;
}

/** Opens a directory as the next process would, and says what of the promises is not kept. */
export function judgeDirectory(directory: string, promised: Promised): string[] {
  const nowMs = Date.UTC(2026, 0, 2);
  const quota = { maxRows: 100_000, maxBytes: 1e9, outcomeReserve: 0.2 };
  let store: OpenedStore;
  try {
    store = openStore({ directory, synchronous: "OFF", quota, nowMs });
  } catch (error) {
    return [`it does not open: ${error}`];
  }
  const problems: string[] = [];
  if (store.damage !== undefined) {
    problems.push(store.damage);
  }
  const states = new Map<number, { id: string; state: DeliveryState }>();
  for (let afterSeq: number | null = 0; afterSeq !== null; ) {
    const [page] = store.runAll([{ type: "list", filter: {}, afterSeq, limit: 500 }]) as [ListResult];
    for (const { seq, id, state } of page.rows) {
      states.set(seq, { id, state });
    }
    afterSeq = page.lastSeq;
  }
  const [verified] = store.runAll([{ type: "verify", afterSeq: 0, limit: 10_000 }]) as [VerifyResult];
  problems.push(...verified.damaged.map((id) => `${id} is damaged`));
  const [{ claimed }] = store.runAll([
    {
      type: "claim",
      lane: "orchestra",
      limit: 10_000,
      nowMs: nowMs + 600_000,
      maxDelayMs: 1e9,
      supersede: false,
    },
  ]) as [ClaimResult];
  const bodies = new Map(claimed.map(({ row, body }) => [row.seq, body]));
  for (const [seq, { id, index }] of promised.stored) {
    const row = states.get(seq);
    if (row?.id !== id) {
      problems.push(`${id} was acknowledged and is gone`);
    } else if (row.state === DeliveryState.STORED && bodies.get(seq) !== bodyOf(index)) {
      problems.push(`${id} has another payload`);
    } else if (promised.delivered.has(seq) && row.state !== DeliveryState.DELIVERED) {
      problems.push(`${id} was delivered, and its mark is gone`);
    }
  }
  store.close();
  return problems;
}
