import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type Evidence, judge } from "../torture/judge.ts";
import { type Arrival, type Listed, logReport, type Report, statusReport } from "../torture/ledger.ts";
import { createRandom } from "../torture/random.ts";
import { type Context, withContext } from "../torture/scenario.ts";
import { phases, runFaults } from "../torture/scenarios/faults.ts";
import { runKills } from "../torture/scenarios/kill.ts";
import { runWorkers } from "../torture/scenarios/workers.ts";

const seed = 20_251_121;

function inContext<Result>(run: (context: Context) => Promise<Result>): Promise<Result> {
  const makeDirectory = () => mkdtempSync(join(tmpdir(), "taskgate-test-"));
  const options = { random: createRandom(seed), timeoutMs: 60_000, note: () => undefined, makeDirectory };
  return withContext(options, run);
}

// The long forms are `npm run torture`. What only a quiet machine can promise is not asked for here.
describe("the short form of the torture", () => {
  const kills = { tasks: 16, reportsPerTask: 30, kills: 4, callbackMs: 10, maxRestartMs: 20_000 };

  test("kill -9 loses nothing and changes no order", { timeout: 60_000 }, async () => {
    const { problems } = await inContext((context) => runKills(context, { ...kills, keepsData: true }));
    expect(problems).toEqual([]);
  });

  test("and the same without what was stored is found out", { timeout: 60_000 }, async () => {
    const { problems } = await inContext((context) =>
      runKills(context, { ...kills, kills: 2, keepsData: false }),
    );
    // What was fast has arrived before the kill; what is stored no more is always missed.
    expect(problems).toContainEqual(expect.stringMatching(/lost|acknowledged, and unknown to the operator/));
  });

  const workers = {
    kills: 0,
    workers: 12,
    limit: 3,
    tasks: 240,
    tasksPerSecond: 60,
    maxWorkMs: 600,
    leaseMs: 1500,
    stallMs: 8000,
  };

  test("tasks of workers that die, sleep and break off end once each", { timeout: 60_000 }, async () => {
    const { problems } = await inContext((context) => runWorkers(context, { ...workers, hasLeases: true }));
    expect(problems).toEqual([]);
  });

  test("and without leases what the dead held is missed", { timeout: 60_000 }, async () => {
    const { problems } = await inContext((context) =>
      runWorkers(context, { ...workers, tasks: 120, hasLeases: false, stallMs: 5000 }),
    );
    expect(problems).toContainEqual(expect.stringContaining("tasks that never ended"));
  });

  test("faults of one upstream are called right and lose nothing", { timeout: 60_000 }, async () => {
    const chosen = ["Retry-After abc", "truncated", "30 % errors"];
    const { problems } = await inContext((context) =>
      runFaults(context, {
        phases: phases.filter(({ name }) => chosen.includes(name)),
        phaseMs: 600,
        withLongWait: false,
        maxRatio: Number.POSITIVE_INFINITY,
      }),
    );
    expect(problems).toEqual([]);
  });
});

describe("the judge", () => {
  const task = "6f1f9b1e-0000-4000-8000-000000000001";

  function made(report: Report, index: number): Report {
    return {
      ...report,
      told: { kind: "acknowledged", deliveryId: `d${index}`, state: "", atMs: 0 },
    };
  }
  function arrived({ id, upstream, expected }: Report): Arrival {
    return { reportId: id, upstream, task, payload: expected, atMs: 0, refused: undefined };
  }
  function listed(_: Report, index: number): Listed {
    return {
      id: `d${index}`,
      upstream: "orchestra",
      task,
      state: "DELIVERED",
      attempts: 2,
      failure: undefined,
    };
  }
  const reports = [
    statusReport({ task, group: 1 }, "RUNNING"),
    statusReport({ task, group: 2 }, "RUNNING"),
    statusReport({ task, group: 3 }, "SUCCEEDED"),
    logReport({ task, group: 4 }, "the end"),
  ].map(made);
  const good = reports.map(arrived);
  const [first, second, outcome, log] = good as [Arrival, Arrival, Arrival, Arrival];
  const deliveries = reports.map(listed);

  test.each<[what: string, changed: Partial<Evidence>, problem: string | undefined]>([
    ["a record that is right", {}, undefined],
    ["a repetition before the next one", { arrivals: [first, first, second, outcome, log] }, "duplicates"],
    ["a loss", { arrivals: [first, outcome, log] }, "lost"],
    ["an exchange", { arrivals: [second, first, outcome, log] }, "out of order"],
    ["a repetition behind the next one", { arrivals: [first, second, first, outcome, log] }, "out of order"],
    ["a status behind the outcome", { arrivals: [first, outcome, second, log] }, "behind an outcome"],
    ["a payload that was changed", { arrivals: [{ ...first, payload: "{}" }, ...good.slice(1)] }, "altered"],
    ["something that nobody said", { arrivals: [...good, { ...log, reportId: "r0r" }] }, "invented"],
    ["a refusal", { arrivals: [{ ...first, refused: "X" }, ...good.slice(1)] }, "refused by the upstream"],
    ["a report that the operator cannot see", { deliveries: deliveries.slice(1) }, "unknown to the operator"],
    [
      "a report that was given up",
      { deliveries: deliveries.map((each, index) => (index === 0 ? { ...each, state: "REJECTED" } : each)) },
      "ended as it must not",
    ],
    ["a delivery from nowhere", { reports: reports.slice(1), arrivals: good.slice(1) }, "nobody made"],
    ["another order of acceptance", { deliveries: deliveries.toReversed() }, "accepted in another order"],
    [
      "a report without an answer",
      { reports: reports.map(({ told: _, ...report }) => report) },
      "never answered",
    ],
  ])("%s", (_, changed, problem) => {
    const { problems } = judge({ reports, deliveries, arrivals: good, ...changed });
    if (problem === undefined) {
      expect(problems).toEqual([]);
    } else {
      expect(problems).toContainEqual(expect.stringContaining(problem));
    }
  });
});
