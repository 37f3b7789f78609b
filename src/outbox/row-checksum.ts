import { crc32 } from "node:zlib";

/** What of a delivery must never change once it is stored. */
export interface ChecksummedFields {
  task: number;
  kind: number;
  target: string;
  body: string;
  createMs: number;
}

/**
 * The checksum that is stored beside a delivery: SQLite's own check does not see a
 * payload that has changed on the disk, and a changed payload must not be sent.
 */
export function checksumOf({ task, kind, target, body, createMs }: ChecksummedFields): number {
  return crc32(body, crc32(`${task}\n${kind}\n${createMs}\n${target.length}\n${target}\n`));
}
