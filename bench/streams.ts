import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { failOnExit } from "./child-processes.ts";
import { readUsage } from "./process-usage.ts";
import { type RateSample, rateSampleOf } from "./rate-sample.ts";
import type { ScenarioContext, ScenarioResult } from "./scenario.ts";
import { startGrpcJsStreams, startUpstream, startWithOrchestra } from "./servers.ts";
import { formatThroughput, summarizeThroughput } from "./throughput-summary.ts";
import { verdictAtLeast } from "./verdict.ts";

/** What the client of this scenario is asked. */
export interface StreamLoad {
  address: string;
  streams: number;
  durationMs: number;
}

export interface StreamLoadResult {
  messages: number;
  elapsedMs: number;
  clientCpuMs: number;
}

const streams = 16;
const roundMs = 2000;
const minRatio = 0.7;
const taskgate = "taskgate, TrackRun";
const reference = "grpc-js, bare";

/**
 * Beats on sixteen streams, each sent as soon as the last was answered, beside a bare
 * grpc-js server that answers every message. In messages a second, of one direction.
 */
export async function runStreams({
  children,
  rounds = 5,
  progress,
}: ScenarioContext): Promise<ScenarioResult> {
  const upstream = await startUpstream(children);
  const servers = {
    [taskgate]: await startWithOrchestra(children, `http://${upstream.address}/`),
    [reference]: await startGrpcJsStreams(children),
  };
  const file = fileURLToPath(new URL("./stream-load-process.ts", import.meta.url));
  const child = children.start("client", [file], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  const ended = failOnExit(child);
  ended.catch(() => undefined);
  async function run(load: StreamLoad): Promise<StreamLoadResult> {
    const answered = once(child, "message");
    child.send(load);
    return ((await Promise.race([answered, ended])) as [StreamLoadResult])[0];
  }
  const samples: RateSample[] = [];
  // The first round warms up.
  for (let round = 0; round <= rounds; round += 1) {
    progress(round === 0 ? "warm-up" : `round ${round} of ${rounds}`);
    for (const [name, { address, pid }] of Object.entries(servers)) {
      const before = readUsage(pid);
      const { messages, elapsedMs, clientCpuMs } = await run({ address, streams, durationMs: roundMs });
      const serverCpuMs = readUsage(pid).cpuMs - before.cpuMs;
      if (round > 0) {
        const work = { calls: messages, elapsedMs, serverCpuMs, clientCpuMs };
        samples.push(rateSampleOf(round, name, work));
      }
    }
  }
  const summary = summarizeThroughput(samples, reference);
  const ratio = summary.find(({ contender }) => contender === taskgate)?.callsRatio;
  return {
    text: [
      `beats on ${streams} streams; ratios to ${reference}`,
      formatThroughput(summary, "message"),
      verdictAtLeast("target: a ratio", ratio, minRatio),
    ].join("\n"),
    data: { minRatio, ratio, summary, samples },
  };
}
