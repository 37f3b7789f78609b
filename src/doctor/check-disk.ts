import { closeSync, existsSync, fsyncSync, openSync, rmSync, statfsSync, statSync, writeSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { messageOf } from "../model/error-message.ts";
import type { Finding } from "./finding.ts";

/** What the disk looks like. */
export interface Disk {
  freeBytes: number;
  /** The file system's own number. */
  type: number;
  /** How long each of some syncs took. */
  syncsMs: readonly number[];
}

// Below it nothing can be stored: the ballast of the outbox, and some reports.
const minFreeBytes = 64 * 1024 * 1024;
// Each call waits for one sync.
const slowSyncMs = 20;
const syncs = 20;

/** Looks at where the outbox is, or will be. It writes a file there, and removes it. */
export function checkDisk(directory: string, wantedBytes: number): Finding[] {
  const existing = nearest(resolve(directory));
  try {
    return [
      ...checkMode(existing.path, existing.isItself),
      ...judgeDisk(measure(existing.path), wantedBytes),
    ];
  } catch (error) {
    return [
      {
        kind: "problem",
        subject: "disk",
        words: `nothing can be written in ${existing.path}: ${messageOf(error)}`,
        advice: "let TASKGATE_DATA_DIR name a directory that the gateway's user can write in",
      },
    ];
  }
}

/** Says what a disk means for an outbox that may hold so many bytes. */
export function judgeDisk({ freeBytes, type, syncsMs }: Disk, wantedBytes: number): Finding[] {
  const sorted = syncsMs.toSorted((a, b) => a - b);
  const medianMs = sorted[Math.floor(sorted.length / 2)] ?? 0;
  const words = `a sync takes ${medianMs.toFixed(1)} ms, at worst ${(sorted.at(-1) ?? 0).toFixed(1)} ms`;
  const findings: Finding[] = [judgeSpace(freeBytes, wantedBytes)];
  findings.push(
    medianMs <= slowSyncMs
      ? { kind: "ok", subject: "disk sync", words }
      : {
          kind: "warning",
          subject: "disk sync",
          words: `${words}: no call is answered faster`,
          advice: "put the outbox on a faster disk",
        },
  );
  const name = doubtful.get(type);
  if (name !== undefined) {
    findings.push({ kind: "warning", subject: "file system", ...name });
  }
  return findings;
}

function judgeSpace(freeBytes: number, wantedBytes: number): Finding {
  const subject = "disk space";
  const words = `${mebibytes(freeBytes)} are free`;
  const advice = "give the volume more room, or lower TASKGATE_OUTBOX_MAX_BYTES";
  if (freeBytes < minFreeBytes) {
    return { kind: "problem", subject, words: `${words}: reports would be refused`, advice };
  }
  return freeBytes < wantedBytes
    ? {
        kind: "warning",
        subject,
        words: `${words}, and TASKGATE_OUTBOX_MAX_BYTES lets ${mebibytes(wantedBytes)} wait for all upstreams together`,
        advice,
      }
    : { kind: "ok", subject, words };
}

// Numbers of Linux, from linux/magic.h.
const memory = {
  words: "the outbox is in memory: a crash of the machine loses it",
  advice: "put it on a disk; in Kubernetes an emptyDir without a medium",
};
const network = {
  words: "the outbox is on a network file system, whose locks and syncs may not keep what they promise",
  advice: "put it on a block device",
};
const doubtful = new Map([
  [0x01021994, memory],
  [0x858458f6, memory],
  [0x6969, network],
  [0x517b, network],
  [0xff534d42, network],
  [0xfe534d42, network],
]);

function checkMode(directory: string, isItself: boolean): Finding[] {
  const subject = "data directory";
  if (!isItself) {
    return [{ kind: "ok", subject, words: `will be made in ${directory}` }];
  }
  const mode = statSync(directory).mode & 0o777;
  return [
    (mode & 0o077) === 0
      ? { kind: "ok", subject, words: directory }
      : {
          kind: "warning",
          subject,
          words: `${directory} can be read by others (mode ${mode.toString(8)}), and holds reports and callback tokens`,
          advice: `chmod 700 ${directory}`,
        },
  ];
}

// The directory, or the nearest one above it that is there.
function nearest(directory: string): { path: string; isItself: boolean } {
  let path = directory;
  while (!existsSync(path) && dirname(path) !== path) {
    path = dirname(path);
  }
  return { path, isItself: path === directory };
}

function measure(directory: string): Disk {
  const { bavail, bsize, type } = statfsSync(directory);
  const path = join(directory, `.taskgate-doctor-${process.pid}`);
  const file = openSync(path, "wx", 0o600);
  try {
    const syncsMs = Array.from({ length: syncs }, () => {
      writeSync(file, Buffer.alloc(4096));
      const startMs = performance.now();
      fsyncSync(file);
      return performance.now() - startMs;
    });
    return { freeBytes: bavail * bsize, type, syncsMs };
  } finally {
    closeSync(file);
    rmSync(path);
  }
}

function mebibytes(bytes: number): string {
  return `${Math.floor(bytes / 1024 / 1024).toLocaleString("en")} MiB`;
}
