import { existsSync, rmSync, statfsSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/**
 * A file that takes up space, to be given up when the disk is full: even a
 * deletion needs room in SQLite's log.
 */
export interface Ballast {
  /** Gives the space up. */
  drop(): void;
  /** Takes the space again where there is enough; says whether it is taken. */
  restore(): boolean;
}

const maxBytes = 8 * 1024 * 1024;

/** Takes the space for ballast in a directory: 8 MiB, or a sixteenth of a small file system. */
export function createBallast(directory: string): Ballast {
  const path = join(directory, "ballast");
  const { blocks, bsize } = statfsSync(directory);
  const size = Math.min(maxBytes, Math.floor((blocks * bsize) / 16));

  function restore(): boolean {
    if (existsSync(path) && statSync(path).size === size) {
      return true;
    }
    const { bavail } = statfsSync(directory);
    if (bavail * bsize < 2 * size) {
      return false;
    }
    writeFileSync(path, Buffer.alloc(size), { mode: 0o600 });
    return true;
  }

  restore();
  return { restore, drop: () => rmSync(path, { force: true }) };
}
