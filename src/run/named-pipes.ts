import { execFileSync } from "node:child_process";
import { closeSync, constants, openSync, rmSync } from "node:fs";
import { Socket } from "node:net";
import { join } from "node:path";
import type { Readable } from "node:stream";

/** A pipe of the system. */
export interface Pipe {
  /** To be given to a command, and then closed. */
  writeFd: number;
  /** Begins to read; the end comes when nobody can write any more. */
  read: () => Readable;
}

/**
 * Makes pipes, with names in the directory that are gone at once. Node by itself
 * gives a command sockets, which `> /dev/stderr` in a script cannot open.
 *
 * @returns undefined where they cannot be made
 */
export function makePipes(directory: string, count: number): Pipe[] | undefined {
  const paths = Array.from({ length: count }, (_, index) => join(directory, `pipe${index}`));
  const fds: number[] = [];
  function open(path: string, flags: number): number {
    const fd = openSync(path, flags);
    fds.push(fd);
    return fd;
  }
  try {
    if (count > 0) {
      execFileSync("mkfifo", ["-m", "600", ...paths], { stdio: "ignore" });
    }
    return paths.map((path) => {
      // In this order neither waits for the other.
      const readFd = open(path, constants.O_RDONLY | constants.O_NONBLOCK);
      const writeFd = open(path, constants.O_WRONLY);
      return { writeFd, read: () => new Socket({ fd: readFd, readable: true, writable: false }) };
    });
  } catch {
    fds.forEach(closeSync);
    return undefined;
  } finally {
    for (const path of paths) {
      rmSync(path, { force: true });
    }
  }
}
