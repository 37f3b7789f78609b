import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { ChildProcesses } from "./child-processes.ts";
import { failOnExit } from "./child-processes.ts";
import { readUsage } from "./process-usage.ts";
import type { ScenarioContext, ScenarioResult } from "./scenario.ts";
import { startUpstream, startWithOrchestra } from "./servers.ts";
import { formatSpread, spreadOf } from "./spread.ts";

const streams = 10_000;
const connections = 20;
const beatMs = 5000;
const settleMs = 10_000;
const measureMs = 20_000;
const maxCores = 0.5;
const maxKiB = 110;

interface IdleSample {
  round: number;
  cores: number;
  kibPerStream: number;
  beatsPerSecond: number;
}

/**
 * What ten thousand tracked runs cost that say nothing but a beat every five seconds,
 * once their RUNNING has been delivered: the gateway's share of a core, and how much
 * its memory has grown per stream.
 */
export async function runIdleStreams({
  children,
  rounds = 1,
  progress,
}: ScenarioContext): Promise<ScenarioResult> {
  const samples: IdleSample[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    progress(`round ${round} of ${rounds}`);
    const upstream = await startUpstream(children);
    const gateway = await startWithOrchestra(children, `http://${upstream.address}/`);
    const before = readUsage(gateway.pid);
    const ask = await openStreams(children, gateway.address);
    progress(`${streams} streams are open`);
    await delay(settleMs);
    const first = { frames: await ask(), atMs: performance.now(), ...readUsage(gateway.pid) };
    await delay(measureMs);
    const last = { frames: await ask(), atMs: performance.now(), ...readUsage(gateway.pid) };
    children.killAll();
    const elapsedMs = last.atMs - first.atMs;
    samples.push({
      round,
      cores: (last.cpuMs - first.cpuMs) / elapsedMs,
      kibPerStream: ((last.rssMiB - before.rssMiB) * 1024) / streams,
      beatsPerSecond: ((last.frames - first.frames) * 1000) / elapsedMs,
    });
  }
  const cores = spreadOf(samples.map((sample) => sample.cores));
  const kib = spreadOf(samples.map((sample) => sample.kibPerStream));
  const verdict = (isKept: boolean) => (isKept ? "kept" : "MISSED");
  return {
    text: [
      `streams   ${streams} over ${connections} connections, a beat every ${beatMs / 1000} s each`,
      `answered  ${formatSpread(spreadOf(samples.map((sample) => sample.beatsPerSecond)))} beats/s`,
      `core      ${formatSpread(cores, 2)}; target: at most ${maxCores}: ${verdict(cores.median <= maxCores)}`,
      `memory    ${formatSpread(kib, 1)} KiB a stream; target: at most ${maxKiB}: ${verdict(kib.median <= maxKiB)}`,
    ].join("\n"),
    data: { maxCores, maxKiB, cores, kib, samples },
  };
}

// Resolves with how to ask how many frames the clients have had.
async function openStreams(children: ChildProcesses, address: string): Promise<() => Promise<number>> {
  const file = fileURLToPath(new URL("./stream-client-process.ts", import.meta.url));
  const args = [file, address, String(streams), String(connections), String(beatMs)];
  const child = children.start("client", args, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  const ended = failOnExit(child);
  ended.catch(() => undefined);
  await Promise.race([once(child, "message"), ended]);
  return async () => {
    const answer = once(child, "message");
    child.send("frames");
    const [frames] = await Promise.race([answer, ended]);
    return Number(frames);
  };
}
