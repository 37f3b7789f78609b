import { findFreePort } from "../test/support/free-port.ts";
import { startLoadProcess } from "./load-process.ts";
import { readUsage } from "./process-usage.ts";
import { type RateSample, rateSampleOf } from "./rate-sample.ts";
import type { ScenarioContext, ScenarioResult } from "./scenario.ts";
import { startUpstream, startWithOrchestra } from "./servers.ts";
import { formatThroughput, summarizeThroughput } from "./throughput-summary.ts";
import { measureUndici, untilTaken } from "./undici-rate.ts";
import { updatePath, updatesOf } from "./update-call.ts";
import { verdictAtLeast } from "./verdict.ts";

const taskgate = "taskgate";
const reference = "undici alone";
const backlog = 20_000;
const runs = 1000;
const minRatio = 0.5;
const timeLimitMs = 120_000;

/**
 * How fast a backlog of 20,000 updates of a thousand runs leaves when Orchestra is back,
 * beside undici alone, which sends as many to the same upstream over as many connections.
 */
export async function runDrain({ children, rounds = 3, progress }: ScenarioContext): Promise<ScenarioResult> {
  const samples: RateSample[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    progress(`round ${round} of ${rounds}`);
    const address = `127.0.0.1:${await findFreePort()}`;
    const gateway = await startWithOrchestra(children, `http://${address}/`);
    await startLoadProcess(children).run({
      address: gateway.address,
      path: updatePath,
      request: updatesOf(runs),
      durationMs: timeLimitMs,
      maxCalls: backlog,
    });
    const before = readUsage(gateway.pid);
    const upstream = await startUpstream(children, address);
    const upstreamBefore = readUsage(upstream.pid);
    const elapsedMs = await untilTaken(address, backlog);
    const serverCpuMs = readUsage(gateway.pid).cpuMs - before.cpuMs;
    const clientCpuMs = readUsage(upstream.pid).cpuMs - upstreamBefore.cpuMs;
    samples.push(
      rateSampleOf(round, taskgate, { calls: backlog, elapsedMs, serverCpuMs, clientCpuMs }),
      rateSampleOf(round, reference, await measureUndici(children, backlog)),
    );
    children.killAll();
  }
  const summary = summarizeThroughput(samples, reference);
  const ratio = summary.find(({ contender }) => contender === taskgate)?.callsRatio;
  return {
    text: [
      `a backlog of ${backlog} updates; ratios to ${reference}`,
      formatThroughput(summary, "POST"),
      verdictAtLeast("target: a ratio", ratio, minRatio),
    ].join("\n"),
    data: { minRatio, ratio, summary, samples },
  };
}
