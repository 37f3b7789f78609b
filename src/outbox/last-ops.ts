import type { DatabaseSync } from "node:sqlite";
import { doubtFloorMs } from "./doubt-floor.ts";
import type { Lanes } from "./lanes.ts";
import type { HastenOp, Undelivered } from "./store.ts";

/** Prepares what a store is asked when its gateway stops. */
export function createLastOps(db: DatabaseSync, lanes: Lanes) {
  // A task is touched when an attempt of it ends. Never later than it was: the clock
  // may have been set back.
  const hastenTasks = db.prepare(
    `UPDATE task SET head_due_ms = min(head_due_ms, max(?3, iif(
         (SELECT in_doubt FROM delivery WHERE seq = head_seq), touched_ms + ?5, ?3)))
       WHERE id IN (SELECT id FROM task WHERE lane = ?1 AND urgent = ?2 AND head_due_ms > ?3
         ORDER BY head_due_ms LIMIT ?4)`,
  );
  const outcomes = db.prepare(
    "SELECT upstream, count(*) AS tasks FROM task WHERE urgent = 1 GROUP BY upstream",
  );

  function hasten({ upstream, lane: name, nowMs, limit }: HastenOp): undefined {
    const lane = lanes.find(name);
    let left = lane === undefined ? 0 : limit;
    for (const urgent of [1, 0]) {
      if (lane !== undefined && left > 0) {
        left -= Number(hastenTasks.run(lane, urgent, nowMs, left, doubtFloorMs[upstream] ?? 0).changes);
      }
    }
    return undefined;
  }

  function undelivered(): Undelivered[] {
    const tasks = new Map(outcomes.all().map((row) => [String(row.upstream), Number(row.tasks)]));
    const waiting = Map.groupBy(
      lanes.list(false).filter(({ rows }) => rows > 0),
      ({ upstream }) => upstream,
    );
    return Array.from(waiting, ([upstream, list]) => ({
      upstream,
      reports: list.reduce((sum, { rows }) => sum + rows, 0),
      outcomes: tasks.get(upstream) ?? 0,
    }));
  }

  return { hasten, undelivered };
}
