import { DatabaseSync } from "node:sqlite";
import { deliveryStates } from "./delivery-state.ts";
import { doubtFloorMs } from "./doubt-floor.ts";
import { resultCodeOf, resultCodes } from "./open-database.ts";
import { checksumOf } from "./row-checksum.ts";

/** What could be saved. */
export interface Salvage {
  /** Deliveries that wait, and are saved. */
  saved: number;
  /** Deliveries that wait, and whose payload is damaged. */
  damaged: number;
  /** Ranges of rows could not be read at all. */
  isPartial: boolean;
}

type Columns = Record<string, null | number | bigint | string | Uint8Array>;

const tables = ["lane", "task", "delivery", "request", "meta"] as const;

/**
 * Copies every row that can be read from a damaged database into a new one of the
 * same schema. What is read is compared with its checksum; a delivery that fails
 * is left out.
 */
export function salvage(damagedPath: string, db: DatabaseSync, nowMs: number): Salvage {
  const result: Salvage = { saved: 0, damaged: 0, isPartial: false };
  let source: DatabaseSync;
  try {
    source = new DatabaseSync(damagedPath, { enableForeignKeyConstraints: false });
  } catch {
    return { ...result, isPartial: true };
  }
  try {
    db.exec("BEGIN IMMEDIATE");
    for (const table of tables) {
      copyTable(source, db, table, result);
    }
    recount(db, nowMs);
    db.exec("COMMIT");
  } finally {
    source.close();
  }
  return result;
}

function copyTable(source: DatabaseSync, db: DatabaseSync, table: string, result: Salvage): void {
  const columns = db.prepare(`SELECT name FROM pragma_table_info('${table}')`).all();
  const names = columns.map(({ name }) => String(name));
  const insert = db.prepare(
    `INSERT OR IGNORE INTO ${table} (${names.join()}) VALUES (${names.map(() => "?").join()})`,
  );
  const taskById = db.prepare("SELECT upstream, key, task_id, attempt FROM task WHERE id = ?");
  for (const row of readableRows(source, table, result)) {
    if (table === "delivery" && row.state === deliveryStates.STORED) {
      if (!isIntact(row, taskById.get(row.task ?? null))) {
        result.damaged += 1;
        continue;
      }
      result.saved += 1;
    }
    try {
      insert.run(...names.map((name) => row[name] ?? null));
    } catch (error) {
      // A value of a wrong kind: the page was damaged and still read.
      if (resultCodeOf(error) !== resultCodes.constraint) {
        throw error;
      }
      result.isPartial = true;
    }
  }
}

// Rows in their order as far as the damage lets it; from there on, by number.
function* readableRows(source: DatabaseSync, table: string, result: Salvage): Generator<Columns> {
  const hasNumbers = table !== "request" && table !== "meta";
  const order = hasNumbers ? "rowid" : "1";
  let last = 0;
  try {
    for (const row of source.prepare(`SELECT * FROM ${table} ORDER BY ${order}`).iterate()) {
      const next = hasNumbers ? Number(row.seq ?? row.id) : last + 1;
      if (next <= last || (!hasNumbers && next > maxUnnumberedRows)) {
        throw new Error("the rows go in a circle");
      }
      last = next;
      yield row as Columns;
    }
    return;
  } catch {
    result.isPartial = true;
  }
  if (!hasNumbers) {
    return;
  }
  const key = table === "delivery" ? "seq" : "id";
  const max = lastNumber(source, table, key);
  let failures = 0;
  for (let number = last + 1; number <= max && failures < maxFailures; number += 1) {
    try {
      const row = source.prepare(`SELECT * FROM ${table} WHERE ${key} = ?`).get(number);
      if (row !== undefined) {
        yield row as Columns;
      }
    } catch {
      failures += 1;
    }
  }
}

// More than there are; a damaged tree may go in a circle.
const maxUnnumberedRows = 5_000_000;
// A page has a hundred rows or so, and each of them fails.
const maxFailures = 100_000;

function lastNumber(source: DatabaseSync, table: string, key: string): number {
  try {
    return Number(source.prepare(`SELECT max(${key}) AS last FROM ${table}`).get()?.last ?? 0);
  } catch {
    return 0;
  }
}

function isIntact(row: Columns, task: Columns | undefined): boolean {
  return (
    checksumOf({
      seq: Number(row.seq),
      upstream: String(task?.upstream),
      key: String(task?.key),
      taskId: String(task?.task_id),
      attempt: String(task?.attempt),
      kind: Number(row.kind),
      state: Number(row.state),
      target: String(row.target),
      body: String(row.body),
      createMs: Number(row.create_ms),
    }) === row.checksum
  );
}

// Queues and counts are made anew from the deliveries that there are.
function recount(db: DatabaseSync, nowMs: number): void {
  db.exec(`
    DELETE FROM delivery WHERE task NOT IN (SELECT id FROM task);
    -- Who repeats what is lost must be able to store it again.
    DELETE FROM request WHERE receipt IS NULL AND seq NOT IN (SELECT seq FROM delivery);
    UPDATE task SET outcome_tag = NULL, outcome_seq = NULL, outcome_create_ms = NULL
      WHERE outcome_receipt IS NULL AND outcome_seq NOT IN (SELECT seq FROM delivery);
    -- No number is given twice, also not one of a row that could not be read.
    DELETE FROM sqlite_sequence WHERE name = 'delivery';
    INSERT INTO sqlite_sequence (name, seq) SELECT 'delivery', coalesce(max(last), 0) + 1000000 FROM (
      SELECT max(seq) AS last FROM delivery UNION ALL SELECT max(seq) FROM request
      UNION ALL SELECT max(outcome_seq) FROM task);
    UPDATE delivery SET in_doubt = 1 WHERE state = ${deliveryStates.STORED} AND attempts > 0;
    UPDATE task SET in_flight = 0,
      pending = (SELECT count(*) FROM delivery d WHERE d.task = task.id AND d.state = ${deliveryStates.STORED}),
      head_seq = (SELECT min(seq) FROM delivery d WHERE d.task = task.id AND d.state = ${deliveryStates.STORED}),
      urgent = EXISTS (SELECT 1 FROM delivery d
        WHERE d.seq = task.outcome_seq AND d.state = ${deliveryStates.STORED});
    UPDATE task SET touched_ms = ${nowMs},
      head_due_ms = iif(head_seq IS NULL, NULL, ${nowMs + Math.max(...Object.values(doubtFloorMs))});
    UPDATE lane SET pending_rows = 0, pending_bytes = 0;
    UPDATE lane SET (pending_rows, pending_bytes) = (SELECT count(*), coalesce(sum(payload_bytes), 0)
      FROM delivery d JOIN task t ON t.id = d.task
      WHERE t.lane = lane.id AND d.state = ${deliveryStates.STORED});
  `);
}
