import type { DatabaseSync } from "node:sqlite";
import { readMeta, writeMeta } from "./meta.ts";

/** The version of the schema that this code reads and writes. */
export const schemaVersion = 3;

// Version 1 has what leases, tracing and several gateways on one store need,
// although nothing fills it yet: a later version then need not rewrite the rows.
const migrations: readonly string[] = [
  `
  CREATE TABLE lane (
    id INTEGER PRIMARY KEY,
    upstream TEXT NOT NULL,
    name TEXT NOT NULL UNIQUE,
    -- What waits, counted, so that nothing needs to be counted at the start.
    pending_rows INTEGER NOT NULL DEFAULT 0,
    pending_bytes INTEGER NOT NULL DEFAULT 0
  ) STRICT;

  CREATE TABLE task (
    id INTEGER PRIMARY KEY,
    upstream TEXT NOT NULL,
    key TEXT NOT NULL,
    lane INTEGER NOT NULL REFERENCES lane (id),
    task_id TEXT NOT NULL,
    attempt TEXT NOT NULL,
    caller TEXT NOT NULL,
    last_status TEXT,
    -- The outcome that counts, the delivery that it is, and when it was accepted.
    outcome_tag TEXT,
    outcome_seq INTEGER,
    outcome_create_ms INTEGER,
    -- Its receipt, once its delivery was pruned.
    outcome_receipt TEXT,
    -- Deliveries that wait, the first of them, when it is due, and whether an
    -- attempt of it is under way.
    pending INTEGER NOT NULL DEFAULT 0,
    head_seq INTEGER,
    head_due_ms INTEGER,
    in_flight INTEGER NOT NULL DEFAULT 0,
    -- 1 while an outcome waits.
    urgent INTEGER NOT NULL DEFAULT 0,
    touched_ms INTEGER NOT NULL,
    session_id TEXT,
    on_lost INTEGER,
    lost_payload TEXT,
    lease_duration_ms INTEGER,
    lease_begin_ms INTEGER,
    lease_end_ms INTEGER,
    -- Which gateway works on the task, and how often that has changed.
    owner TEXT,
    fence INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE UNIQUE INDEX task_by_key ON task (upstream, key);
  CREATE INDEX task_by_due ON task (lane, urgent, head_due_ms) WHERE head_due_ms IS NOT NULL;
  CREATE INDEX task_in_flight ON task (in_flight) WHERE in_flight = 1;
  CREATE INDEX task_by_touch ON task (touched_ms) WHERE pending = 0;

  CREATE TABLE delivery (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    task INTEGER NOT NULL REFERENCES task (id),
    kind INTEGER NOT NULL,
    state INTEGER NOT NULL,
    in_doubt INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    own_failures INTEGER NOT NULL DEFAULT 0,
    own_failure_ms INTEGER,
    by_gateway INTEGER NOT NULL DEFAULT 0,
    operation TEXT NOT NULL,
    caller TEXT NOT NULL,
    -- Of an outcome: equal tags are the same outcome.
    outcome_tag TEXT NOT NULL DEFAULT '',
    target TEXT NOT NULL,
    body TEXT NOT NULL,
    payload_bytes INTEGER NOT NULL,
    create_ms INTEGER NOT NULL,
    deliver_ms INTEGER,
    end_ms INTEGER,
    failure BLOB,
    answer TEXT NOT NULL DEFAULT '',
    -- W3C trace context of the call that made it.
    trace_parent TEXT,
    trace_state TEXT,
    -- Of what must not change: see row-checksum.ts.
    checksum INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX delivery_by_task ON delivery (task, state, seq);
  CREATE INDEX delivery_by_end ON delivery (end_ms) WHERE end_ms IS NOT NULL;

  CREATE TABLE request (
    caller TEXT NOT NULL,
    operation TEXT NOT NULL,
    request_id TEXT NOT NULL,
    content_hash TEXT NOT NULL,
    seq INTEGER NOT NULL,
    -- Both once its delivery was pruned.
    end_ms INTEGER,
    receipt TEXT,
    PRIMARY KEY (caller, operation, request_id)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX request_by_seq ON request (seq);
  CREATE INDEX request_by_end ON request (end_ms) WHERE end_ms IS NOT NULL;

  CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
  `,
  `CREATE INDEX task_by_lease ON task (id) WHERE lease_begin_ms IS NOT NULL AND lease_end_ms IS NULL;`,
  // An end then changes nothing in the large index, and little in the small one.
  `
  DROP INDEX delivery_by_task;
  CREATE INDEX delivery_by_task ON delivery (task, seq);
  CREATE INDEX delivery_stored ON delivery (task, seq) WHERE state = 1;
  `,
];

/** What is found in a database cannot have been written by anybody. */
export class DamagedDatabaseError extends Error {}

/**
 * Brings a database to the current version, step by step, each in a transaction
 * of its own. Throws for one that a newer version has written: it is not touched.
 */
export function migrate(db: DatabaseSync): void {
  const version = Number(db.prepare("PRAGMA user_version").get()?.user_version);
  const written = version === 0 ? undefined : Number(readMeta(db, "schema"));
  // It is written in two places, so that damage does not look like another version.
  if (version !== 0 && written !== version) {
    throw new DamagedDatabaseError(`it says that it has schema version ${version} and ${written}`);
  }
  if (version > schemaVersion) {
    throw new Error(
      `the store has schema version ${version}, and this taskgate knows ${schemaVersion}: use the version that wrote it`,
    );
  }
  for (let next = version; next < schemaVersion; next += 1) {
    db.exec("BEGIN IMMEDIATE");
    db.exec(migrations[next] ?? "");
    writeMeta(db, "schema", String(next + 1));
    db.exec(`PRAGMA user_version = ${next + 1}`);
    db.exec("COMMIT");
  }
}
