import { setTimeout as delay } from "node:timers/promises";
import type { ChildProcesses } from "./child-processes.ts";
import { readUsage } from "./process-usage.ts";
import type { Work } from "./rate-sample.ts";
import { readTaken, sendWithUndici, startUpstream } from "./servers.ts";

const timeLimitMs = 120_000;

/** Sends that many POSTs with undici alone, which is the server here, to an upstream of their own. */
export async function measureUndici(children: ChildProcesses, count: number): Promise<Work> {
  const upstream = await startUpstream(children);
  const before = readUsage(upstream.pid);
  const serverCpuMs = await sendWithUndici(children, `http://${upstream.address}`, count);
  const elapsedMs = await untilTaken(upstream.address, count);
  const clientCpuMs = readUsage(upstream.pid).cpuMs - before.cpuMs;
  return { calls: count, elapsedMs, serverCpuMs, clientCpuMs };
}

/** Waits until an upstream has taken that many POSTs; resolves with how long it took, in milliseconds. */
export async function untilTaken(address: string, wanted: number): Promise<number> {
  const endMs = performance.now() + timeLimitMs;
  while (performance.now() < endMs) {
    const { count, elapsedMs } = await readTaken(address);
    if (count >= wanted) {
      return elapsedMs;
    }
    await delay(200);
  }
  throw new Error(`${wanted} POSTs were not taken within ${timeLimitMs} ms`);
}
