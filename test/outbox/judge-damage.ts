import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parentPort, workerData } from "node:worker_threads";
import { DeliveryState } from "../../gen/taskgate/v1/receipt_pb.ts";
import { type OpenedStore, openStore } from "../../src/outbox/open-store.ts";
import type { ClaimResult, ListResult, StoreOp, VerifyResult } from "../../src/outbox/store.ts";

const quota = { maxRows: 100_000, maxBytes: 1e9, outcomeReserve: 0.2 };
const nowMs = Date.UTC(2026, 0, 1);

/** Opens the store of a directory as a gateway would. */
export function openDamaged(directory: string): OpenedStore {
  return openStore({ directory, synchronous: "OFF", quota, nowMs });
}

function run(store: OpenedStore, op: StoreOp): unknown {
  return store.runAll([op])[0];
}

/** What was accepted, by delivery id. */
export type Accepted = Map<string, { body: string; key: string }>;

export interface Verdict {
  /** What must not happen, and happened. */
  problems: string[];
  isTold: boolean;
}

/** Opens a store on damaged bytes, sends everything as a gateway would, and compares. */
export function judge(directory: string, bytes: Buffer, accepted: Accepted): Verdict {
  mkdirSync(directory);
  writeFileSync(join(directory, "outbox.db"), bytes, { mode: 0o600 });
  const problems: string[] = [];
  const sent = new Map<string, string[]>();
  let isTold = false;
  // Damage that is found while serving ends the gateway, and its next start saves what can be saved.
  for (let starts = 0; starts < 4; starts += 1) {
    let store: OpenedStore;
    try {
      store = openDamaged(directory);
    } catch (error) {
      if (String(error).includes("schema version")) {
        // It is told, and nothing is touched: a newer version may have written it.
        return { problems: [], isTold: true };
      }
      return { problems: [`does not open: ${error}`], isTold };
    }
    isTold ||= store.damage !== undefined;
    try {
      // As after an unclean stop.
      isTold = verifyAll(store) || isTold;
      isTold = sendAll(store, sent) || isTold;
      const { rows } = run(store, { type: "list", filter: {}, afterSeq: 0, limit: 500 }) as ListResult;
      const byId = new Map(rows.map((row) => [row.id, row]));
      for (const [id, { body, key }] of accepted) {
        const bodies = sent.get(id) ?? [];
        const row = byId.get(id);
        if (bodies.some((sentBody) => sentBody !== `${key} ${body}`)) {
          problems.push(`${id} was sent with a changed payload or for another task: ${bodies}`);
        }
        if (bodies.length === 0 && row?.state !== DeliveryState.REJECTED && !isTold) {
          problems.push(`${id} is ${row === undefined ? "gone" : `never sent, in state ${row.state}`}`);
        }
      }
      for (const id of sent.keys()) {
        if (!accepted.has(id)) {
          problems.push(`${id} was sent and never accepted`);
        }
      }
      return { problems, isTold };
    } catch (error) {
      if (!store.isFatal(error)) {
        return { problems: [`fails and goes on: ${error}`], isTold };
      }
    } finally {
      closeQuietly(store);
    }
  }
  return { problems: ["fails at every start"], isTold };
}

const maxRounds = 1000;

// Sends and settles until nothing is left; says whether the operator was told of damage.
export function sendAll(store: OpenedStore, sent: Map<string, string[]>): boolean {
  let isTold = false;
  for (let round = 0; round < maxRounds; round += 1) {
    const laterMs = nowMs + 1e6;
    const claim = { type: "claim", lane: "orchestra", limit: 1000, maxDelayMs: 300_000 } as const;
    const { claimed, damaged } = run(store, { ...claim, nowMs: laterMs, supersede: false }) as ClaimResult;
    isTold ||= damaged.length > 0;
    if (claimed.length === 0 && damaged.length === 0) {
      return isTold;
    }
    for (const { row, body } of claimed) {
      sent.set(row.id, [...(sent.get(row.id) ?? []), `${row.key} ${body}`]);
      run(store, {
        type: "settle",
        seq: row.seq,
        settlement: { kind: "delivered", answer: "" },
        nowMs: laterMs,
        claimNext: false,
        supersede: false,
      });
    }
  }
  throw new Error("what was settled is claimed again and again");
}

function verifyAll(store: OpenedStore): boolean {
  let afterSeq: number | null = 0;
  let isTold = false;
  for (let round = 0; afterSeq !== null && round < maxRounds; round += 1) {
    const result = run(store, { type: "verify", afterSeq, limit: 200 }) as VerifyResult;
    afterSeq = result.lastSeq;
    isTold ||= result.damaged.length > 0;
  }
  if (afterSeq !== null) {
    throw new Error("the comparison of checksums does not end");
  }
  return isTold;
}

function closeQuietly(store: OpenedStore): void {
  try {
    store.close();
  } catch {
    // It is as broken as its file.
  }
}

/** What the worker is given: the database, what was accepted, which bits to flip one at a time, and where. */
export interface FlipJob {
  bytes: Uint8Array;
  accepted: Accepted;
  bits: readonly number[];
  directory: string;
}

export interface FlipVerdict extends Verdict {
  bit: number;
}

// In a thread of its own, because damage must not make it run for ever.
if (parentPort !== null && workerData?.bits !== undefined) {
  const { bytes, accepted, bits, directory } = workerData as FlipJob;
  for (const bit of bits) {
    const copy = Buffer.from(bytes);
    copy.writeUInt8(copy.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
    const place = join(directory, `flip-${bit}`);
    parentPort.postMessage({ bit, ...judge(place, copy, accepted) } satisfies FlipVerdict);
    rmSync(place, { recursive: true });
  }
}
