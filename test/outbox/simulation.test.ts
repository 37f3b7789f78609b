import { describe, expect, test } from "vitest";
import { type Sabotage, simulate } from "../torture/simulation/simulate.ts";

// A failing seed replays: SEED=123 node test/torture/simulation/run.ts
const seeds = 300;

async function failingSeeds(count: number, sabotage?: Sabotage): Promise<string[]> {
  const failing: string[] = [];
  for (let seed = 1; seed <= count; seed += 1) {
    const { problems } = await simulate(seed, sabotage);
    if (problems.length > 0) {
      failing.push(`seed ${seed}: ${problems[0]}`);
    }
  }
  return failing;
}

describe("an outbox in virtual time, with faults, crashes and operators", () => {
  test("keeps its promises, whatever the seed", { timeout: 120_000 }, async () => {
    expect(await failingSeeds(seeds)).toEqual([]);
  });

  test("really meets what it must withstand", { timeout: 60_000 }, async () => {
    const totals: Record<string, number> = {};
    for (let seed = 1; seed <= 120; seed += 1) {
      for (const [what, times] of Object.entries((await simulate(seed)).counts)) {
        totals[what] = (totals[what] ?? 0) + times;
      }
    }
    for (const what of [
      "crashes",
      "crashesInCommit",
      "restarts",
      "answerLost",
      "hang",
      "tooMany",
      "refused",
      "retry",
      "discard",
    ]) {
      expect([what, (totals[what] ?? 0) > 3]).toEqual([what, true]);
    }
  });

  test("runs the same way again", { timeout: 60_000 }, async () => {
    for (const seed of [7, 62, 94]) {
      expect(await simulate(seed)).toEqual(await simulate(seed));
    }
  });
});

test.for(["doubtIgnored", "doubtForgotten", "orderBroken", "acknowledgedEarly"] as const)(
  "is caught when a safeguard is switched off: %s",
  { timeout: 60_000 },
  async (sabotage) => {
    expect((await failingSeeds(40, sabotage)).length).toBeGreaterThan(0);
  },
);
