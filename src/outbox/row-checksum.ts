import { crc32 } from "node:zlib";

/** What of a delivery and its task must be as it was stored. */
export interface ChecksummedFields {
  seq: number;
  upstream: string;
  key: string;
  taskId: string;
  attempt: string;
  kind: number;
  state: number;
  target: string;
  body: string;
  createMs: number;
}

/**
 * The checksum that is stored beside a delivery: SQLite's own check does not see a
 * payload that has changed on the disk, and a changed payload must not be sent.
 */
export function checksumOf(fields: ChecksummedFields): number {
  const { seq, upstream, key, taskId, attempt, kind, state, target, body, createMs } = fields;
  const head = [seq, upstream, key, taskId, attempt, kind, state, createMs, target.length, target].join("\n");
  return crc32(body, crc32(head));
}
