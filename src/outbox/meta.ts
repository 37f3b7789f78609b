import type { DatabaseSync } from "node:sqlite";

/** Reads what the store notes of itself; undefined: nothing under that name. */
export function readMeta(db: DatabaseSync, name: string): string | undefined {
  return db.prepare("SELECT value FROM meta WHERE name = ?").get(name)?.value as string | undefined;
}

/** Notes something of the store itself. */
export function writeMeta(db: DatabaseSync, name: string, value: string): void {
  db.prepare(
    "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
  ).run(name, value);
}

/** Forgets what was noted under that name. */
export function dropMeta(db: DatabaseSync, name: string): void {
  db.prepare("DELETE FROM meta WHERE name = ?").run(name);
}
