import { fillStore } from "../test/torture/fill-store.ts";
import { startLoadProcess } from "./load-process.ts";
import { readUsage } from "./process-usage.ts";
import type { ScenarioContext, ScenarioResult } from "./scenario.ts";
import { startWithOrchestra, temporaryDirectory } from "./servers.ts";
import { formatSpread, type Spread, spreadOf } from "./spread.ts";
import { formatTable } from "./table.ts";
import { updatePath, updatesOf } from "./update-call.ts";
import { verdictAtMost } from "./verdict.ts";

// Nobody listens there.
const downUrl = "http://127.0.0.1:9/";
const minCalls = 4000;
const manyRows = 1_000_000;
const maxRatio = 1.3;
const defaultRuns = 1000;

interface Measured {
  cpuUsPerCall: number;
  callsPerSecond: number;
}

/**
 * What an `UpdateTask` costs, stored while Orchestra is down, as more is there: rows in
 * the outbox, tasks that have something waiting, bytes in a report.
 */
export async function runGrowth({
  children,
  rounds = 5,
  progress,
}: ScenarioContext): Promise<ScenarioResult> {
  progress(`filling an outbox with ${manyRows} rows`);
  const directory = temporaryDirectory();
  fillStore(directory, manyRows, Math.random);
  const load = startLoadProcess(children);
  const roomy = ["--outbox-max-rows=100000000", `--outbox-max-bytes=${2 ** 40}`];
  const contenders = [
    { name: empty, runs: defaultRuns, messageBytes: 16, flags: [] },
    { name: full, runs: defaultRuns, messageBytes: 16, flags: [`--data-dir=${directory}`] },
    ...[1, 100, 10_000].map((runs) => ({ name: `${runs} tasks`, runs, messageBytes: 16, flags: [] })),
    ...[100, 10_000, 1_000_000].map((messageBytes) => ({
      name: `${messageBytes} bytes a message`,
      runs: defaultRuns,
      messageBytes,
      flags: [],
    })),
  ];
  const samples: ({ round: number; name: string } & Measured)[] = [];
  const started = [];
  for (const contender of contenders) {
    const server = await startWithOrchestra(children, downUrl, ...roomy, ...contender.flags);
    started.push({ ...contender, server });
  }
  // The first round warms up.
  for (let round = 0; round <= rounds; round += 1) {
    progress(round === 0 ? "warm-up" : `round ${round} of ${rounds}`);
    for (const { name, runs, messageBytes, server } of started) {
      const isLarge = messageBytes >= 1_000_000;
      const before = readUsage(server.pid);
      const result = await load.run({
        address: server.address,
        path: updatePath,
        request: updatesOf(isLarge ? 10 : runs, { message: "x".repeat(messageBytes) }),
        durationMs: 60_000,
        // Each run of the load begins with the first task.
        maxCalls: isLarge ? 50 : Math.max(minCalls, runs),
        streams: isLarge ? 4 : 64,
      });
      const cpuMs = readUsage(server.pid).cpuMs - before.cpuMs;
      if (round > 0) {
        samples.push({
          round,
          name,
          cpuUsPerCall: (cpuMs * 1000) / result.calls,
          callsPerSecond: (result.calls * 1000) / result.elapsedMs,
        });
      }
    }
  }
  const ratio = ratioOf(samples, full, empty, rounds);
  return {
    text: [
      formatTable([
        ["", "calls/s", "server CPU us/call"],
        ...contenders.map(({ name }) => [
          name,
          formatSpread(spreadFor(samples, name, "callsPerSecond")),
          formatSpread(spreadFor(samples, name, "cpuUsPerCall"), 1),
        ]),
      ]),
      verdictAtMost(`CPU ${formatSpread(ratio, 2)} of the empty outbox; target: a ratio`, ratio, maxRatio),
    ].join("\n"),
    data: { maxRatio, ratio, samples },
  };
}

const empty = "empty outbox";
const full = "a million rows";

type Sample = { round: number; name: string } & Measured;

function spreadFor(samples: readonly Sample[], name: string, figure: keyof Measured): Spread {
  return spreadOf(samples.filter((sample) => sample.name === name).map((sample) => sample[figure]));
}

function ratioOf(samples: readonly Sample[], name: string, reference: string, rounds: number): Spread {
  const cpu = (wanted: string, at: number) =>
    samples.find((sample) => sample.name === wanted && sample.round === at)?.cpuUsPerCall ?? Number.NaN;
  return spreadOf(Array.from({ length: rounds }, (_, at) => cpu(name, at + 1) / cpu(reference, at + 1)));
}
