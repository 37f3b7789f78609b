import { type Sabotage, simulate } from "./simulate.ts";

// Seeds are tried until the time is over; one that fails is told, and replays by
// SEED=N node test/torture/simulation/run.ts.

const { env, stdout } = process;
const single = env.SEED === undefined ? undefined : Number(env.SEED);
const firstSeed = single ?? Number(env.FIRST_SEED ?? 1);
const seeds = single === undefined ? Number(env.SEEDS ?? 3000) : 1;
const budgetMs = Number(env.BUDGET_MS ?? 75_000);
const controlSeeds = 300;
const controls: readonly Sabotage[] = ["doubtIgnored", "doubtForgotten", "orderBroken", "acknowledgedEarly"];

interface Result {
  tried: number;
  failed: number[];
  firstProblems: string[];
  totals: Map<string, number>;
}

async function trySeeds(
  first: number,
  howMany: number,
  untilMs: number,
  sabotage?: Sabotage,
): Promise<Result> {
  const result: Result = { tried: 0, failed: [], firstProblems: [], totals: new Map() };
  for (let seed = first; seed < first + howMany && performance.now() < untilMs; seed += 1) {
    const { problems, counts } = await simulate(seed, sabotage);
    result.tried += 1;
    for (const [what, times] of Object.entries(counts)) {
      result.totals.set(what, (result.totals.get(what) ?? 0) + times);
    }
    if (problems.length > 0) {
      result.failed.push(seed);
      if (result.firstProblems.length === 0) {
        result.firstProblems = problems.slice(0, 10);
      }
      if (sabotage !== undefined) {
        break;
      }
    }
  }
  return result;
}

const beganMs = performance.now();
const { tried, failed, firstProblems, totals } = await trySeeds(firstSeed, seeds, beganMs + budgetMs);
const seconds = ((performance.now() - beganMs) / 1000).toFixed(1);
const happened = Array.from(totals, ([what, times]) => `${what} ${times}`).join(", ");
stdout.write(`simulation: ${tried} seeds in ${seconds} s: ${happened}\n`);
let isOk = failed.length === 0 && tried > 0;
if (failed.length > 0) {
  stdout.write(`seed ${failed[0]}:\n${firstProblems.map((problem) => `  ${problem}\n`).join("")}`);
}
const caught: string[] = [];
for (const sabotage of single === undefined ? controls : []) {
  const control = await trySeeds(1, controlSeeds, performance.now() + 10_000, sabotage);
  const isCaught = control.failed.length > 0;
  isOk &&= isCaught;
  caught.push(`${sabotage} ${isCaught ? `caught by seed ${control.failed[0]}` : "NOT caught"}`);
}
stdout.write(
  `simulation ${isOk ? "passed" : "FAILED"}: ${failed.length} of ${tried} seeds failed` +
    `${failed.length === 0 ? "" : ` (SEED=${failed.slice(0, 5).join(", ")})`}` +
    `${caught.length === 0 ? "" : `; controls: ${caught.join(", ")}`}\n`,
);
process.exitCode = isOk ? 0 : 1;
