import { getInfoCall } from "./get-info-call.ts";
import { startLoadProcess } from "./load-process.ts";
import type { ScenarioContext, ScenarioResult } from "./scenario.ts";
import { readTaken, startUpstream, startWithOrchestra } from "./servers.ts";
import { type Contender, measureThroughput } from "./throughput.ts";
import { formatThroughput, summarizeThroughput } from "./throughput-summary.ts";
import { updatePath, updatesOf } from "./update-call.ts";
import { verdictAtMost } from "./verdict.ts";

const reference = "nothing is observed";
const usual = "metrics and log";
const maxCpuRatio = 1.1;
const runs = 1000;

/**
 * What it costs to observe: the cheapest call there is, and a report that is stored and
 * delivered, with metrics and the log as they are by default, and with a span for each
 * call and attempt besides, beside a gateway without a port that could be asked.
 */
export async function runObservation({
  children,
  rounds = 21,
  progress,
}: ScenarioContext): Promise<ScenarioResult> {
  const collector = await startUpstream(children);
  // Each has an upstream of its own, which is asked how much it took.
  async function start(name: string, ...flags: string[]): Promise<Contender> {
    const upstream = await startUpstream(children);
    const server = await startWithOrchestra(children, `http://${upstream.address}/`, ...flags);
    return { name, server, countDelivered: async () => (await readTaken(upstream.address)).count };
  }
  const delivering = [
    await start(reference),
    await start(usual, "--ops-listen=127.0.0.1:0"),
    await start("and traces", "--ops-listen=127.0.0.1:0", `--otlp-endpoint=http://${collector.address}`),
  ];
  const calls = [
    {
      name: "GetInfo",
      call: getInfoCall,
      contenders: delivering.map(({ name, server }) => ({ name, server })),
    },
    {
      name: "UpdateTask, answered when stored",
      call: { path: updatePath, request: updatesOf(runs) },
      contenders: delivering,
    },
  ];
  const load = startLoadProcess(children);
  const results = [];
  for (const { name, call, contenders } of calls) {
    const samples = await measureThroughput({
      contenders,
      call,
      load,
      rounds,
      warmUpMs: 2000,
      roundMs: 500,
      progress: (step) => progress(`${name}: ${step}`),
    });
    results.push({ name, samples, summary: summarizeThroughput(samples, reference) });
  }
  const texts = results.map(({ name, summary }) => {
    const observed = summary.find(({ contender }) => contender === usual);
    const verdict = verdictAtMost(
      `target with ${usual}: a ratio of processor time`,
      observed?.cpuRatio,
      maxCpuRatio,
    );
    return `${name}; ratios to where ${reference}\n${formatThroughput(summary)}\n${verdict}`;
  });
  return { text: texts.join("\n"), data: { reference, maxCpuRatio, results } };
}
