import { existsSync, rmSync, statfsSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/**
 * A file that takes up space, to be given up when the disk is full: even a
 * deletion needs room in SQLite's log.
 */
export interface Ballast {
  /** How much it is, in bytes. */
  readonly size: number;
  /** Gives the space up. */
  drop(): void;
  /** Takes the space again where there is twice as much; says whether it is taken. */
  restore(): boolean;
  /** Says whether half of the space is still free: what is left for those who must write. */
  hasRoom(): boolean;
}

const maxBytes = 8 * 1024 * 1024;

/** The ballast of a directory: 8 MiB, or a sixteenth of a small file system. It is taken by `restore`. */
export function createBallast(directory: string): Ballast {
  const path = join(directory, "ballast");
  const { blocks, bsize } = statfsSync(directory);
  const size = Math.min(maxBytes, Math.floor((blocks * bsize) / 16));

  function freeBytes(): number {
    const { bavail, bsize: blockSize } = statfsSync(directory);
    return bavail * blockSize;
  }

  function restore(): boolean {
    if (existsSync(path) && statSync(path).size === size) {
      return true;
    }
    if (freeBytes() < 2 * size) {
      return false;
    }
    writeFileSync(path, Buffer.alloc(size), { mode: 0o600 });
    return true;
  }

  return {
    size,
    restore,
    drop: () => rmSync(path, { force: true }),
    hasRoom: () => freeBytes() >= size / 2,
  };
}
