import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { killAll } from "./gateway-process.ts";
import type { Verdict } from "./judge.ts";
import { removeNetworks } from "./network.ts";
import { createRandom } from "./random.ts";
import { type Scenario, withContext } from "./scenario.ts";
import { attacks } from "./scenarios/attacks.ts";
import { bigStart } from "./scenarios/big-start.ts";
import { clock } from "./scenarios/clock.ts";
import { diskFull } from "./scenarios/disk-full.ts";
import { faults } from "./scenarios/faults.ts";
import { floods } from "./scenarios/floods.ts";
import { fuzz } from "./scenarios/fuzz.ts";
import { killScenario } from "./scenarios/kill.ts";
import { lostWorkers } from "./scenarios/lost-workers.ts";
import { outage } from "./scenarios/outage.ts";
import { podLife } from "./scenarios/pod-life.ts";
import { races } from "./scenarios/races.ts";
import { resumes } from "./scenarios/resumes.ts";
import { slowCallback } from "./scenarios/slow-callback.ts";
import { steadyBeats } from "./scenarios/steady-beats.ts";
import { emergency, sigterm, sigtermDown } from "./scenarios/stops.ts";
import { workerResumeScenario, workersScenario } from "./scenarios/workers.ts";
import { killWorkers } from "./worker-process.ts";

const scenarios: ReadonlyMap<string, Scenario> = new Map([
  ["kill", killScenario],
  ["slow-callback", slowCallback],
  ["outage", outage],
  ["faults", faults],
  ["races", races],
  ["disk-full", diskFull],
  ["clock", clock],
  ["workers", workersScenario],
  ["worker-resume", workerResumeScenario],
  ["big-start", bigStart],
  ["lost-workers", lostWorkers],
  ["resumes", resumes],
  ["steady-beats", steadyBeats],
  ["floods", floods],
  ["attacks", attacks],
  ["fuzz", fuzz],
  ["sigterm", sigterm],
  ["sigterm-down", sigtermDown],
  ["emergency", emergency],
  ["pod-life", podLife],
]);

const usage = `usage: npm run torture -- [--scenario NAME]... [--seed N] [--only run|control]
scenarios: ${[...scenarios.keys()].join(", ")}; without a name all of them
`;

interface Arguments {
  chosen: [name: string, scenario: Scenario][];
  seed: number;
  parts: ("run" | "control")[];
}

function readArguments(): Arguments {
  const { values } = parseArgs({
    options: {
      scenario: { type: "string", multiple: true },
      seed: { type: "string" },
      only: { type: "string" },
    },
  });
  const chosen = (values.scenario ?? [...scenarios.keys()]).map((name): [string, Scenario] => {
    const scenario = scenarios.get(name);
    if (scenario === undefined) {
      throw new Error(`there is no scenario ${name}`);
    }
    return [name, scenario];
  });
  const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31));
  if (!Number.isInteger(seed)) {
    throw new Error(`--seed ${values.seed} is not a whole number`);
  }
  if (values.only !== undefined && values.only !== "run" && values.only !== "control") {
    throw new Error(`--only ${values.only} is neither run nor control`);
  }
  return { chosen, seed, parts: values.only === undefined ? ["run", "control"] : [values.only] };
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

async function prove(
  name: string,
  scenario: Scenario,
  part: "run" | "control",
  seed: number,
): Promise<boolean> {
  const startMs = performance.now();
  let verdict: Verdict;
  try {
    verdict = await withContext(
      {
        random: createRandom(seed),
        timeoutMs: scenario.timeoutMs,
        note: (text) => process.stderr.write(`  ${name} ${part}: ${text}\n`),
        makeDirectory: () => mkdtempSync(join(tmpdir(), "taskgate-torture-")),
      },
      scenario[part],
    );
  } catch (error) {
    killAll();
    say(`✗ ${name} ${part}, seed ${seed}: ${error instanceof Error ? error.stack : error}`);
    return false;
  }
  const figures = Object.entries(verdict.figures).map(([figure, value]) => `${figure} ${value}`);
  const seconds = ((performance.now() - startMs) / 1000).toFixed(0);
  const line = `${name} ${part}, seed ${seed}, ${seconds} s: ${figures.join(", ")}`;
  const { problems } = verdict;
  if (part === "control") {
    const holds = problems.length > 0;
    say(
      `${holds ? "✓" : "✗"} ${line}${holds ? "" : "; it must fail, and did not"}; found: ${problems.length}`,
    );
    for (const problem of problems.slice(0, 3)) {
      process.stderr.write(`    ${problem.slice(0, 300)}\n`);
    }
    return holds;
  }
  say(`${problems.length === 0 ? "✓" : "✗"} ${line}`);
  for (const problem of problems) {
    say(`    ${problem.slice(0, 1000)}`);
  }
  return problems.length === 0;
}

async function main({ chosen, seed, parts }: Arguments): Promise<void> {
  process.once("exit", killAll);
  process.once("exit", killWorkers);
  process.once("exit", removeNetworks);
  process.once("SIGINT", () => process.exit(130));
  process.once("SIGTERM", () => process.exit(143));
  let holds = true;
  for (const [name, scenario] of chosen) {
    const reason = scenario.skipped?.();
    if (reason !== undefined) {
      say(`! ${name} SKIPPED: ${reason}`);
      continue;
    }
    for (const part of parts) {
      holds = (await prove(name, scenario, part, seed)) && holds;
    }
  }
  process.exit(holds ? 0 : 1);
}

let asked: Arguments | undefined;
try {
  asked = readArguments();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : error}\n${usage}`);
  process.exitCode = 2;
}
if (asked !== undefined) {
  await main(asked);
}
