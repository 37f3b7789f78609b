import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Verdict } from "../torture/judge.ts";
import { createRandom } from "../torture/random.ts";
import { type Context, withContext } from "../torture/scenario.ts";
import { runLostWorkers } from "../torture/scenarios/lost-workers.ts";
import { runResumes } from "../torture/scenarios/resumes.ts";

const seed = 20_251_121;
const timeout = 60_000;

function inContext(run: (context: Context) => Promise<Verdict>): Promise<Verdict> {
  const makeDirectory = () => mkdtempSync(join(tmpdir(), "taskgate-test-"));
  const options = { random: createRandom(seed), timeoutMs: timeout, note: () => undefined, makeDirectory };
  return withContext(options, run);
}

// The long forms are `npm run torture`. What only a quiet machine can promise is not asked for here.
const lost = { runs: { kill: 1, stop: 1, unary: 2 }, callbacks: 1, leaseMs: 2000, maxLateMs: 8000 };

test("workers that are killed, stopped or silent are reported, and hear of it", { timeout }, async () => {
  const { problems } = await inContext((context) =>
    runLostWorkers(context, { ...lost, onLost: "ON_LOST_FAIL" }),
  );
  expect(problems).toEqual([]);
});

test("and the same where nobody is to be told is found out", { timeout }, async () => {
  const options = {
    ...lost,
    runs: { kill: 1 },
    callbacks: 0,
    maxLateMs: 500,
    onLost: "ON_LOST_IGNORE",
  } as const;
  const { problems } = await inContext((context) => runLostWorkers(context, options));
  expect(problems).toContainEqual(expect.stringMatching(/it was never reported/));
});

const broken = { streams: 60, connections: 2, updates: 5, paceMs: 300, kills: 1 };

test("streams that a kill -9 of the gateway broke go on where they were", { timeout }, async () => {
  const { problems } = await inContext((context) => runResumes(context, { ...broken, keepsSession: true }));
  expect(problems).toEqual([]);
});

test("and the same without their sessions is found out", { timeout }, async () => {
  const options = { ...broken, streams: 10, keepsSession: false };
  const { problems } = await inContext((context) => runResumes(context, options));
  expect(problems).toContainEqual(expect.stringMatching(/arrived as RUNNING begun.*RUNNING begun/));
});
