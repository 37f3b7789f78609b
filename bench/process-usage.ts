import { readFileSync } from "node:fs";

/** What a process has used, as the kernel counts it. */
export interface ProcessUsage {
  /** Of all its threads, in user and in kernel mode; in steps of 10 ms. */
  cpuMs: number;
  rssMiB: number;
}

// Linux counts in hundredths of a second, whatever the kernel's own clock does.
const msPerTick = 10;

/** Reads the usage of a process from `/proc`. */
export function readUsage(pid: number): ProcessUsage {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The name before may hold anything, also blanks and parentheses.
  const [, , , , , , , , , , , userTicks, systemTicks] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [, rssKiB] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return { cpuMs: (Number(userTicks) + Number(systemTicks)) * msPerTick, rssMiB: Number(rssKiB) / 1024 };
}
