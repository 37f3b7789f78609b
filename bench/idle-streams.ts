import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { ChildProcesses } from "./child-processes.ts";
import { failOnExit } from "./child-processes.ts";
import { readUsage } from "./process-usage.ts";
import type { ScenarioContext, ScenarioResult } from "./scenario.ts";
import type { ServerProcess } from "./server-process.ts";
import { readTaken, startGrpcJsStreams, startUpstream, startWithOrchestra } from "./servers.ts";
import { formatSpread, spreadOf } from "./spread.ts";
import { formatTable } from "./table.ts";
import { verdictAtMost } from "./verdict.ts";

const counts = [1000, 10_000];
const streamsPerConnection = 500;
const beatMs = 5000;
const settleMs = 10_000;
const measureMs = 20_000;
// So short that a run whose beats are missed is reported as lost while it is looked at.
const leases = ["--heartbeat-interval=5s", "--lease-duration=10s"];
const maxCores = 0.5;
const maxKiB = 110;
const maxCoresRatio = 3;
const maxMemoryRatio = 2;
const taskgate = "taskgate, TrackRun";
const reference = "grpc-js, bare";

interface IdleSample {
  round: number;
  name: string;
  streams: number;
  cores: number;
  kibPerStream: number;
  beatsPerSecond: number;
  /** Reports of a living run as lost. */
  falseLosses: number;
}

/**
 * What tracked runs cost that say nothing but a beat every five seconds, once their
 * RUNNING has been delivered: the share of a core, and how much the memory has grown per
 * stream, beside a bare grpc-js server that answers as many beats on as many streams.
 */
export async function runIdleStreams({
  children,
  rounds = 1,
  progress,
}: ScenarioContext): Promise<ScenarioResult> {
  const samples: IdleSample[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    for (const streams of counts) {
      progress(`round ${round} of ${rounds}: ${streams} streams`);
      const upstream = await startUpstream(children);
      const gateway = await startWithOrchestra(children, `http://${upstream.address}/`, ...leases);
      const own = await measure(children, gateway, streams);
      // Every run is alive: none may be reported as failed.
      const { failed: falseLosses } = await readTaken(upstream.address);
      children.killAll();
      samples.push({ round, name: taskgate, streams, ...own, falseLosses });
      const bare = await measure(children, await startGrpcJsStreams(children), streams);
      children.killAll();
      samples.push({ round, name: reference, streams, ...bare, falseLosses: 0 });
    }
  }
  const most = Math.max(...counts);
  const spreadFor = (name: string, streams: number, figure: "cores" | "kibPerStream" | "beatsPerSecond") =>
    spreadOf(samples.filter((one) => one.name === name && one.streams === streams).map((one) => one[figure]));
  const cores = spreadFor(taskgate, most, "cores");
  const kib = spreadFor(taskgate, most, "kibPerStream");
  const ratioOf = (figure: "cores" | "kibPerStream") =>
    spreadOf(
      Array.from({ length: rounds }, (_, at) => {
        const [own, other] = [taskgate, reference].map((name) =>
          samples.find((one) => one.round === at + 1 && one.streams === most && one.name === name),
        );
        return (own?.[figure] ?? Number.NaN) / (other?.[figure] ?? Number.NaN);
      }),
    );
  const coresRatio = ratioOf("cores");
  const memoryRatio = ratioOf("kibPerStream");
  const lost = samples.reduce((sum, { falseLosses }) => sum + falseLosses, 0);
  return {
    text: [
      `a beat every ${beatMs / 1000} s on each stream, leases of 10 s, ${streamsPerConnection} streams on a connection`,
      formatTable([
        ["", "streams", "beats/s", "of a core", "KiB a stream"],
        ...counts.flatMap((streams) =>
          [taskgate, reference].map((name) => [
            name,
            String(streams),
            formatSpread(spreadFor(name, streams, "beatsPerSecond")),
            formatSpread(spreadFor(name, streams, "cores"), 3),
            formatSpread(spreadFor(name, streams, "kibPerStream"), 1),
          ]),
        ),
      ]),
      `living runs that were reported as lost: ${lost}`,
      verdictAtMost(`target with ${most}: of a core`, cores, maxCores),
      verdictAtMost(`target with ${most}: KiB a stream`, kib, maxKiB),
      verdictAtMost(
        `core ${formatSpread(coresRatio, 2)} of the bare one; target: a ratio`,
        coresRatio,
        maxCoresRatio,
      ),
      verdictAtMost(
        `memory ${formatSpread(memoryRatio, 2)} of the bare one; target: a ratio`,
        memoryRatio,
        maxMemoryRatio,
      ),
    ].join("\n"),
    data: { maxCores, maxKiB, maxCoresRatio, maxMemoryRatio, coresRatio, memoryRatio, samples },
  };
}

async function measure(children: ChildProcesses, { pid, address }: ServerProcess, streams: number) {
  const before = readUsage(pid);
  const ask = await openStreams(children, address, streams);
  await delay(settleMs);
  const first = { frames: await ask(), atMs: performance.now(), ...readUsage(pid) };
  await delay(measureMs);
  const last = { frames: await ask(), atMs: performance.now(), ...readUsage(pid) };
  const elapsedMs = last.atMs - first.atMs;
  return {
    cores: (last.cpuMs - first.cpuMs) / elapsedMs,
    kibPerStream: ((last.rssMiB - before.rssMiB) * 1024) / streams,
    beatsPerSecond: ((last.frames - first.frames) * 1000) / elapsedMs,
  };
}

// Resolves with how to ask how many frames the clients have had.
async function openStreams(
  children: ChildProcesses,
  address: string,
  streams: number,
): Promise<() => Promise<number>> {
  const file = fileURLToPath(new URL("./stream-client-process.ts", import.meta.url));
  const args = [file, address, String(streams), String(streams / streamsPerConnection), String(beatMs)];
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
