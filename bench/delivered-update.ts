import { WaitFor } from "../gen/taskgate/v1/receipt_pb.ts";
import { startLoadProcess } from "./load-process.ts";
import { readUsage } from "./process-usage.ts";
import { type RateSample, rateSampleOf } from "./rate-sample.ts";
import type { ScenarioContext, ScenarioResult } from "./scenario.ts";
import { startUpstream, startWithOrchestra } from "./servers.ts";
import { formatThroughput, summarizeThroughput } from "./throughput-summary.ts";
import { measureUndici } from "./undici-rate.ts";
import { updatePath, updatesOf } from "./update-call.ts";
import { verdictAtLeast } from "./verdict.ts";

const taskgate = "taskgate";
const reference = "undici alone";
const minRatio = 0.45;
const runs = 1000;
const roundMs = 2000;
const posts = 40_000;

/**
 * `UpdateTask` of a thousand runs, 64 in flight, each answered when Orchestra has taken
 * it, beside undici alone, which POSTs the same to such an upstream, 64 in flight too.
 */
export async function runDeliveredUpdate({
  children,
  rounds = 5,
  progress,
}: ScenarioContext): Promise<ScenarioResult> {
  const upstream = await startUpstream(children);
  const gateway = await startWithOrchestra(children, `http://${upstream.address}/`);
  const load = startLoadProcess(children);
  const call = { path: updatePath, request: updatesOf(runs, { waitFor: WaitFor.DELIVERED }) };
  progress("warm-up");
  await load.run({ address: gateway.address, ...call, durationMs: roundMs });
  const samples: RateSample[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    progress(`round ${round} of ${rounds}`);
    const servers = [gateway.pid, upstream.pid].map((pid) => ({ pid, beforeMs: readUsage(pid).cpuMs }));
    const result = await load.run({ address: gateway.address, ...call, durationMs: roundMs });
    const [serverCpuMs = 0, upstreamCpuMs = 0] = servers.map(
      ({ pid, beforeMs }) => readUsage(pid).cpuMs - beforeMs,
    );
    const clientCpuMs = result.clientCpuMs + upstreamCpuMs;
    samples.push(rateSampleOf(round, taskgate, { ...result, serverCpuMs, clientCpuMs }));
    samples.push(rateSampleOf(round, reference, await measureUndici(children, posts)));
  }
  const summary = summarizeThroughput(samples, reference);
  const ratio = summary.find(({ contender }) => contender === taskgate)?.callsRatio;
  return {
    text: [
      `UpdateTask, answered at DELIVERED, 64 in flight; ratios to ${reference}`,
      formatThroughput(summary),
      "the client core has the client and the upstream of taskgate, and of undici the upstream alone",
      verdictAtLeast("target: a ratio", ratio, minRatio),
    ].join("\n"),
    data: { minRatio, ratio, summary, samples },
  };
}
