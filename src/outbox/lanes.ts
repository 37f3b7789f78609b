import type { DatabaseSync } from "node:sqlite";
import { deliveryStates } from "./delivery-state.ts";
import type { LaneBacklog } from "./store.ts";

/** How much may wait per upstream. */
export interface Quota {
  maxRows: number;
  maxBytes: number;
  /** The part of both that only outcomes may use, from 0 to 1. */
  outcomeReserve: number;
}

interface Lane extends Omit<LaneBacklog, "oldestMs"> {
  id: number;
  isChanged: boolean;
  /** No delivery before this one waits. */
  oldestSeq: number;
}

/** What waits, by lane. */
export type Lanes = ReturnType<typeof createLanes>;

/** Reads the lanes. Their counts are kept here, and written by `flush` in the transaction that changed them. */
export function createLanes(db: DatabaseSync, quota: Quota) {
  const insert = db.prepare("INSERT INTO lane (upstream, name) VALUES (?, ?)");
  const select = db.prepare("SELECT id, upstream, name, pending_rows, pending_bytes FROM lane");
  const update = db.prepare("UPDATE lane SET pending_rows = ?, pending_bytes = ? WHERE id = ?");
  // What waits begins where it began when somebody asked before, or later: it is found
  // without an index, whose upkeep every delivery would pay for.
  const selectOldest = db.prepare(
    `SELECT d.seq, d.create_ms FROM delivery d JOIN task t ON t.id = d.task
     WHERE d.seq >= ? AND d.state = ${deliveryStates.STORED} AND t.lane = ? ORDER BY d.seq LIMIT 1`,
  );
  const byName = new Map<string, Lane>();
  const byId = new Map<number, Lane>();

  function load(): void {
    byName.clear();
    byId.clear();
    for (const { id, upstream, name, pending_rows, pending_bytes } of select.all()) {
      add({
        id: Number(id),
        upstream: String(upstream),
        lane: String(name),
        rows: Number(pending_rows),
        bytes: Number(pending_bytes),
        isChanged: false,
        oldestSeq: 0,
      });
    }
  }

  function add(lane: Lane): Lane {
    byName.set(lane.lane, lane);
    byId.set(lane.id, lane);
    return lane;
  }

  function waiting(upstream: string): { rows: number; bytes: number } {
    const sum = { rows: 0, bytes: 0 };
    for (const lane of byId.values()) {
      if (lane.upstream === upstream) {
        sum.rows += lane.rows;
        sum.bytes += lane.bytes;
      }
    }
    return sum;
  }

  function oldestMs(lane: Lane): number | null {
    const oldest = lane.rows === 0 ? undefined : selectOldest.get(lane.oldestSeq, lane.id);
    if (oldest === undefined) {
      return null;
    }
    lane.oldestSeq = Number(oldest.seq);
    return Number(oldest.create_ms);
  }

  load();
  return {
    /** Reads the lanes again, after a transaction was undone. */
    load,

    find: (name: string): number | undefined => byName.get(name)?.id,
    nameOf: (id: number): string => byId.get(id)?.lane ?? "",

    findOrAdd(upstream: string, name: string): number {
      const existing = byName.get(name);
      if (existing !== undefined) {
        return existing.id;
      }
      const id = Number(insert.run(upstream, name).lastInsertRowid);
      return add({ id, upstream, lane: name, rows: 0, bytes: 0, isChanged: false, oldestSeq: 0 }).id;
    },

    /** Counts what begins or ceases to wait. */
    count(id: number, rows: number, bytes: number): void {
      const lane = byId.get(id);
      if (lane !== undefined) {
        lane.rows += rows;
        lane.bytes += bytes;
        lane.isChanged = true;
      }
    },

    /** Names the limit that a report would exceed; undefined: there is room. */
    limitExceededBy(upstream: string, bytes: number, isOutcome: boolean): string | undefined {
      const share = isOutcome ? 1 : 1 - quota.outcomeReserve;
      const now = waiting(upstream);
      if (now.rows + 1 > quota.maxRows * share) {
        return `${now.rows} reports wait for ${upstream}`;
      }
      return now.bytes + bytes > quota.maxBytes * share
        ? `reports of ${now.bytes} bytes wait for ${upstream}`
        : undefined;
    },

    flush(): void {
      for (const lane of byId.values()) {
        if (lane.isChanged) {
          update.run(lane.rows, lane.bytes, lane.id);
          lane.isChanged = false;
        }
      }
    },

    /** A delivery waits again that did not. */
    waitsAgain(id: number, seq: number): void {
      const lane = byId.get(id);
      if (lane !== undefined) {
        lane.oldestSeq = Math.min(lane.oldestSeq, seq);
      }
    },

    list: (withAge: boolean): LaneBacklog[] =>
      Array.from(byId.values(), (each) => {
        const { upstream, lane, rows, bytes } = each;
        return { upstream, lane, rows, bytes, oldestMs: withAge ? oldestMs(each) : null };
      }),
  };
}
