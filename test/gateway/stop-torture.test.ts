import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { Verdict } from "../torture/judge.ts";
import { createRandom } from "../torture/random.ts";
import { type Context, withContext } from "../torture/scenario.ts";
import { runDownStop, runEmergency, runStop } from "../torture/scenarios/stops.ts";

async function problemsOf(run: (context: Context) => Promise<Verdict>): Promise<string[]> {
  const makeDirectory = () => mkdtempSync(join(tmpdir(), "taskgate-test-"));
  const options = { random: createRandom(7), timeoutMs: 100_000, note: () => undefined, makeDirectory };
  return (await withContext(options, run)).problems;
}

// The long forms are `npm run torture`.
describe("the short form of the stops", () => {
  const busy = { calls: 100, streams: 10, drainMs: 12_000, minAcceptMs: 3000, latencyMs: 500 };

  test("SIGTERM answers every call and ends every stream", { timeout: 110_000 }, async () => {
    expect(await problemsOf((context) => runStop(context, { ...busy, isAsked: true }))).toEqual([]);
  });

  test("SIGTERM with an upstream that is down loses nothing and says what is left", {
    timeout: 60_000,
  }, async () => {
    const down = { tasks: 50, drainMs: 1000, keepsData: true };
    expect(await problemsOf((context) => runDownStop(context, down))).toEqual([]);
  });

  test("SIGKILL two seconds behind SIGTERM finds the outcomes gone", { timeout: 110_000 }, async () => {
    const crowded = { outcomes: 50, statuses: 500, latencyMs: 100, isAsked: true };
    expect(await problemsOf((context) => runEmergency(context, crowded))).toEqual([]);
  });
});
