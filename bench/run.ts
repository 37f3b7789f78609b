import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { createChildProcesses } from "./child-processes.ts";
import { runDeliveredUpdate } from "./delivered-update.ts";
import { runDrain } from "./drain.ts";
import { runDurableUpdate } from "./durable-update.ts";
import { runGetInfo } from "./get-info.ts";
import { runGrowth } from "./growth.ts";
import { runHeartbeat } from "./heartbeat.ts";
import { runIdleStreams } from "./idle-streams.ts";
import { runLatency } from "./latency.ts";
import { describeMachine } from "./machine.ts";
import { runObservation } from "./observation.ts";
import { findPinning } from "./pinning.ts";
import type { Scenario } from "./scenario.ts";
import { runSdk } from "./sdk.ts";
import { runStartUp } from "./start-up.ts";
import { runStartUpOfImage } from "./start-up-of-image.ts";
import { runStreams } from "./streams.ts";
import { runWork } from "./work.ts";

const scenarios: ReadonlyMap<string, Scenario> = new Map([
  ["get-info", runGetInfo],
  ["heartbeat", runHeartbeat],
  ["durable-update", runDurableUpdate],
  ["delivered-update", runDeliveredUpdate],
  ["latency", runLatency],
  ["observation", runObservation],
  ["drain", runDrain],
  ["streams", runStreams],
  ["work", runWork],
  ["sdk", runSdk],
  ["growth", runGrowth],
  ["idle-streams", runIdleStreams],
  ["start-up", runStartUp],
  ["start-up-of-image", runStartUpOfImage],
]);

const usage = `usage: npm run bench -- [--scenario NAME]... [--rounds N] [--json FILE]
scenarios: ${[...scenarios.keys()].join(", ")}; without a name all of them
`;

interface Arguments {
  chosen: (readonly [name: string, scenario: Scenario])[];
  rounds: number | undefined;
  json: string | undefined;
}

function readArguments(): Arguments {
  const { values } = parseArgs({
    options: {
      scenario: { type: "string", multiple: true },
      rounds: { type: "string" },
      json: { type: "string" },
    },
  });
  const chosen = (values.scenario ?? [...scenarios.keys()]).map((name) => {
    const scenario = scenarios.get(name);
    if (scenario === undefined) {
      throw new Error(`there is no scenario ${name}`);
    }
    return [name, scenario] as const;
  });
  const rounds = values.rounds === undefined ? undefined : Number(values.rounds);
  if (rounds !== undefined && !(Number.isInteger(rounds) && rounds > 0)) {
    throw new Error(`--rounds ${values.rounds} is not a number of rounds`);
  }
  return { chosen, rounds, json: values.json };
}

async function run({ chosen, rounds, json }: Arguments): Promise<void> {
  if (process.platform !== "linux") {
    throw new Error("the benchmark reads what processes use from /proc, which only Linux has");
  }
  const pinning = findPinning();
  const children = createChildProcesses(pinning);
  process.once("exit", children.killAll);
  process.once("SIGINT", () => process.exit(130));
  process.once("SIGTERM", () => process.exit(143));

  const date = new Date().toISOString();
  const machine = describeMachine();
  console.log(`${date}; ${machine.cpu}, ${machine.cores} cores; ${machine.kernel}; Node ${machine.node}`);
  console.log(`${pinning.description}; load of the last minute ${machine.load.toFixed(2)}`);
  console.log("figures: the median of the rounds (the least - the most)");
  const results: Record<string, object> = {};
  for (const [name, scenario] of chosen) {
    const startMs = performance.now();
    const { text, data } = await scenario({
      children,
      rounds,
      progress: (step) => process.stderr.write(`${name}: ${step}\n`),
    });
    children.killAll();
    const seconds = Math.round((performance.now() - startMs) / 1000);
    console.log(`\n${name} (${seconds} s)\n${text}`);
    results[name] = data;
  }
  if (json !== undefined) {
    const report = { date, machine, pinning: pinning.description, scenarios: results };
    writeFileSync(json, `${JSON.stringify(report, undefined, 2)}\n`);
  }
}

let asked: Arguments | undefined;
try {
  asked = readArguments();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : error}\n${usage}`);
  process.exitCode = 2;
}
if (asked !== undefined) {
  await run(asked);
}
