import { rm } from "node:fs/promises";
import { availableParallelism, loadavg } from "node:os";
import type { Sandbox } from "../../../src/sandbox/sandbox.ts";
import { median } from "../figures.ts";
import { judge, type Verdict } from "../judge.ts";
import {
  arrivalsAt,
  callbackReport,
  drained,
  listDeliveries,
  logReport,
  outputReport,
  processesNotRunOnce,
  produce,
  type Report,
  statusReport,
  taskReport,
} from "../ledger.ts";
import { intBetween, pick, type Random, uuidOf } from "../random.ts";
import type { Context, Scenario } from "../scenario.ts";
import { setStage, sleep, startAidboxTask } from "../stage.ts";

export interface KillOptions {
  tasks: number;
  reportsPerTask: number;
  kills: number;
  /** The safeguard. */
  keepsData: boolean;
  /** How long the Orchestrator works on a result. */
  callbackMs: number;
  /** How long a restart may take until the first answer. */
  maxRestartMs: number;
}

/** `kill -9` at random times while tasks report to all three systems. */
export const killScenario: Scenario = {
  timeoutMs: 400_000,
  run: (context) =>
    runKills(context, {
      tasks: 200,
      reportsPerTask: 55,
      kills: 100,
      keepsData: true,
      callbackMs: 20,
      maxRestartMs: 1000,
    }),
  control: (context) =>
    runKills(context, {
      tasks: 50,
      reportsPerTask: 40,
      kills: 10,
      keepsData: false,
      callbackMs: 20,
      maxRestartMs: 1000,
    }),
};

const maxControlDrainMs = 10_000;

export async function runKills(context: Context, options: KillOptions): Promise<Verdict> {
  const { random } = context;
  const { sandbox, client, gateway, start, dataDir } = await setStage(context, {
    sandbox: { orchestrator: { raceWindowMs: options.callbackMs } },
  });
  // So that attempts are under way when the gateway dies, before and after they had their effect.
  sandbox.orchestra.faults.set([
    { id: "slow", probability: 0.2, action: { kind: "delay", delayMs: 20 } },
    { id: "slow-answer", probability: 0.2, when: "after", action: { kind: "delay", delayMs: 20 } },
  ]);
  sandbox.orchestrator.faults.set([
    { id: "slow-answer", probability: 0.5, when: "after", action: { kind: "delay", delayMs: 40 } },
  ]);
  sandbox.aidbox.faults.set([
    { id: "slow-answer", probability: 0.5, when: "after", action: { kind: "delay", delayMs: 40 } },
  ]);

  const startsMs: number[] = [];
  const plans = Array.from({ length: options.tasks }, () =>
    planTask(random, sandbox, options.reportsPerTask),
  );
  const reports = plans.flat();
  const told = () => reports.reduce((count, report) => count + (report.told === undefined ? 0 : 1), 0);
  const share = reports.length / options.kills;
  // Else all is said between the first few kills.
  let allowed = share * 1.5;
  let acknowledged = 0;
  const counting = setInterval(() => {
    acknowledged = told();
  }, 5);
  context.defer(() => clearInterval(counting));
  const mayGo = () => acknowledged < allowed;
  const producing = Promise.all(plans.map((plan) => produce(client, plan, { mayGo })));
  producing.catch(() => undefined);

  const killTimesMs: number[] = [];
  let killedUnderWay = 0;
  for (let kill = 0; kill < options.kills; kill += 1) {
    const threshold = Math.min(reports.length - 1, (kill + random() * 0.9) * share);
    allowed = (kill + 1.5) * share;
    while (acknowledged < threshold) {
      await sleep(2);
    }
    await sleep(random() * (random() < 0.5 ? 15 : 250));
    killedUnderWay += [sandbox.orchestra, sandbox.orchestrator, sandbox.aidbox]
      .flatMap(({ requests }) => requests.slice(-500))
      .filter(({ endMs }) => endMs === undefined).length;
    await gateway().kill();
    await quietened(sandbox);
    killTimesMs.push(Date.now());
    if (!options.keepsData) {
      await rm(dataDir, { recursive: true, force: true });
    }
    if (random() < 0.1) {
      // One that is killed before it serves.
      void start().catch(() => undefined);
      await sleep(random() * 400);
      await gateway().kill();
      await quietened(sandbox);
      killTimesMs.push(Date.now());
    }
    startsMs.push(await start());
    if (kill % 20 === 19) {
      context.note(`${kill + 1} kills, ${told()} of ${reports.length} reports are acknowledged`);
    }
  }
  allowed = Number.POSITIVE_INFINITY;
  await producing;
  // What is stored no more is missed at once, and what follows it may wait for it for long.
  const drainMs = options.keepsData
    ? await drained(client, 120_000)
    : await drained(client, maxControlDrainMs).catch(() => maxControlDrainMs);
  const deliveries = await listDeliveries(client);
  const arrivals = arrivalsAt(sandbox);
  const judged = judge(
    { reports, deliveries, arrivals },
    {
      maxDuplicates: deliveries.reduce((sum, { attempts }) => sum + Math.max(0, attempts - 1), 0),
      mayEnd: ({ state }, { upstream }) => state === "UNCONFIRMED" && upstream === "orchestrator",
    },
  );
  const { problems } = judged;

  const repeats = repetitionsWithoutKill(arrivals, killTimesMs);
  if (repeats.length > 0) {
    problems.push(`repeated without a kill between: ${repeats.length} (${repeats.slice(0, 3).join("; ")})`);
  }
  const twice = processesNotRunOnce(sandbox);
  if (twice.length > 0) {
    problems.push(`processes that did not run once: ${twice.length} (${twice.slice(0, 3).join("; ")})`);
  }
  if (killedUnderWay === 0) {
    problems.push("no attempt was under way at any kill: nothing is proved");
  }
  const worstMs = Math.max(...startsMs);
  if (worstMs >= options.maxRestartMs) {
    problems.push(`a restart took ${worstMs.toFixed(0)} ms until the first answer`);
  }
  const alarms =
    gateway()
      .log()
      .match(/"level":"error"/g)?.length ?? 0;
  if (alarms > 0) {
    problems.push(`the gateway logged errors: ${gateway().log().slice(0, 500)}`);
  }
  return {
    problems,
    figures: {
      kills: killTimesMs.length,
      reports: reports.length,
      acknowledged: judged.acknowledged,
      "calls repeated": reports.reduce((sum, { calls }) => sum + calls - 1, 0),
      "requests under way at kills": killedUnderWay,
      "attempts repeated": judged.extraAttempts,
      duplicates: judged.duplicates,
      unconfirmed: deliveries.filter(({ state }) => state === "UNCONFIRMED").length,
      "restart median ms": median(startsMs).toFixed(0),
      "restart worst ms": worstMs.toFixed(0),
      "drain ms": drainMs.toFixed(0),
      // Beyond the number of cores, the restarts are not the gateway's alone.
      load: `${(loadavg()[0] ?? 0).toFixed(1)} on ${availableParallelism()} cores`,
    },
  };
}

// A run with callbacks and a task of Aidbox on its way: one process reports to all three.
function planTask(random: Random, sandbox: Sandbox, count: number): Report[] {
  const run = uuidOf(random);
  const reports: Report[] = [];
  let group = 0;
  while (reports.length < count - 5) {
    group += 1;
    const burst = random() < 0.15 ? intBetween(random, 2, 5) : 1;
    for (let index = 0; index < burst; index += 1) {
      reports.push(planReport(random, sandbox, run, group));
    }
  }
  const placed = { task: run, group: group + 1 };
  const outcome = pick(random, ["SUCCEEDED", "FAILED", "WARNING", "CANCELLED"]);
  const waitFor = pick(random, ["WAIT_FOR_STORED", "WAIT_FOR_STORED", "WAIT_FOR_UNSPECIFIED"]);
  reports.push(statusReport({ ...placed, waitFor }, outcome, "done"));
  reports.push(logReport({ ...placed, group: group + 2 }, "the end"));
  return reports;
}

function planReport(random: Random, sandbox: Sandbox, run: string, group: number): Report {
  const placed = { task: run, group };
  const chance = random();
  if (chance < 0.06) {
    const { process_id, callback_route } = sandbox.orchestrator.processes.start();
    return callbackReport({ task: process_id, group }, callback_route);
  }
  if (chance < 0.1) {
    const { id, execId } = startAidboxTask(sandbox);
    return taskReport({ task: id, group }, execId);
  }
  if (chance < 0.3) {
    return outputReport(placed, pick(random, ["rows", "path", "a_b-c"]), {
      n: intBetween(random, 0, 1000),
      ü: "ß",
    });
  }
  if (chance < 0.4) {
    return logReport(placed, "line\n".repeat(intBetween(random, 1, 200)));
  }
  return statusReport(placed, "RUNNING", "x".repeat(intBetween(random, 0, 300)));
}

// A duplicate comes from an attempt that a kill cut off, so there is a kill between the two.
// What a dead gateway had sent may still have its effect: it counts as before the kill.
async function quietened({ orchestra, orchestrator, aidbox }: Sandbox): Promise<void> {
  const isQuiet = () =>
    [orchestra, orchestrator, aidbox].every(({ requests }) =>
      requests.slice(-500).every(({ endMs }) => endMs !== undefined),
    );
  // What waits in a socket is read within a turn or two.
  do {
    await sleep(20);
  } while (!isQuiet());
}

function repetitionsWithoutKill(
  arrivals: ReturnType<typeof arrivalsAt>,
  killTimesMs: readonly number[],
): string[] {
  const lastMs = new Map<string, number>();
  return arrivals.flatMap(({ reportId = "", atMs, task }) => {
    const beforeMs = lastMs.get(reportId);
    lastMs.set(reportId, atMs);
    const isExplained =
      beforeMs === undefined || killTimesMs.some((killMs) => beforeMs <= killMs && killMs <= atMs);
    return isExplained ? [] : [`${reportId} of ${task}`];
  });
}
