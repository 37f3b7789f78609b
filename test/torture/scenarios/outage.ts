import { rm } from "node:fs/promises";
import { percentile } from "../figures.ts";
import { judge, type Verdict } from "../judge.ts";
import {
  arrivalsAt,
  callbackReport,
  drained,
  listDeliveries,
  outputReport,
  processesNotRunOnce,
  produce,
  type Report,
  statusReport,
  submit,
} from "../ledger.ts";
import { uuidOf } from "../random.ts";
import type { Context, Scenario } from "../scenario.ts";
import { setStage, sleep } from "../stage.ts";

/** An upstream is down for ten minutes, which last one here, while tasks begin, report and end. */
export const outage: Scenario = {
  timeoutMs: 240_000,
  run: (context) => runOutage(context, { tasks: 1000, downMs: 60_000, keepsData: true }),
  control: (context) => runOutage(context, { tasks: 100, downMs: 5000, keepsData: false }),
};

interface OutageOptions {
  tasks: number;
  downMs: number;
  /** The safeguard: off, the gateway forgets at a restart what it has stored. */
  keepsData: boolean;
}

async function runOutage(context: Context, options: OutageOptions): Promise<Verdict> {
  const { random } = context;
  const { sandbox, client, gateway, start, dataDir } = await setStage(context);
  const others: { report: Report; ms: number; isDown: boolean }[] = [];
  const isOver = new AbortController();
  let isDown = false;

  // Somebody else's results, meanwhile, at a steady pace.
  async function watchOther(): Promise<void> {
    while (!isOver.signal.aborted) {
      const { process_id, callback_route } = sandbox.orchestrator.processes.start();
      const report = callbackReport(
        { task: process_id, group: 1, waitFor: "WAIT_FOR_DELIVERED" },
        callback_route,
      );
      const startMs = performance.now();
      const wasDown = isDown;
      await submit(client, report);
      others.push({ report, ms: performance.now() - startMs, isDown: wasDown });
      await sleep(20);
    }
  }
  const watching = watchOther();
  await sleep(Math.min(10_000, options.downMs / 2));

  isDown = true;
  await sandbox.orchestra.faults.setDown(true);
  const downMs = performance.now();
  const reports = Array.from({ length: options.tasks }, () => planTask(uuidOf(random)));
  const all = reports.flat();
  // A quarter begins with the outage, the others while it lasts.
  const producing = Promise.all(
    reports.map(async (plan, index) => {
      await sleep(index < options.tasks / 4 ? 0 : random() * options.downMs * 0.3);
      await produce(client, plan);
    }),
  );
  await producing;
  const storedMs = performance.now() - downMs;
  await sleep(2000);
  const rss: number[] = [];
  let restartMs = 0;
  while (performance.now() - downMs < options.downMs) {
    rss.push(gateway().rssMiB());
    await sleep(500);
    if (!options.keepsData && restartMs === 0) {
      await gateway().kill();
      await rm(dataDir, { recursive: true, force: true });
      restartMs = await start();
    }
  }
  const before = await listDeliveries(client, { upstream: "orchestra" });
  const attemptsWhileDown = before.reduce((sum, { attempts }) => sum + attempts, 0);
  isDown = false;
  await sandbox.orchestra.faults.setDown(false);
  const drainMs = await drained(client, 120_000);
  isOver.abort();
  await watching;

  const deliveries = await listDeliveries(client);
  const { problems, extraAttempts } = judge({
    reports: [...all, ...others.map(({ report }) => report)],
    deliveries,
    arrivals: arrivalsAt(sandbox),
  });
  const notOnce = processesNotRunOnce(sandbox);
  if (notOnce.length > 0) {
    problems.push(`processes that did not run once: ${notOnce.length}`);
  }
  const [undisturbed, meanwhile] = [false, true].map((when) =>
    percentile(
      others.filter((other) => other.isDown === when).map(({ ms }) => ms),
      0.99,
    ),
  ) as [number, number];
  // 64 may be under way when it begins, and then one every half second at most.
  const maxAttempts = 200 + options.downMs / 500;
  if (attemptsWhileDown > maxAttempts) {
    problems.push(`${attemptsWhileDown} attempts while it was down, more than ${maxAttempts}`);
  }
  if (before.filter(({ state }) => state === "STORED").length < all.length * 0.99) {
    problems.push("the outage did not keep the reports waiting: nothing is proved");
  }
  const first = percentile(rss.slice(0, 10), 0.5);
  const last = percentile(rss.slice(-10), 0.5);
  if (last > first * 1.2 + 10) {
    problems.push(`memory grew from ${first.toFixed(0)} to ${last.toFixed(0)} MiB while nothing was new`);
  }
  if (drainMs > 60_000) {
    problems.push(`draining took ${(drainMs / 1000).toFixed(1)} s`);
  }
  return {
    problems,
    figures: {
      tasks: options.tasks,
      reports: all.length,
      "down s": (options.downMs / 1000).toFixed(0),
      "all stored after s": (storedMs / 1000).toFixed(1),
      "attempts while down": attemptsWhileDown,
      "attempts repeated in all": extraAttempts,
      "RSS MiB": `${first.toFixed(0)} → ${last.toFixed(0)}`,
      "drain s": (drainMs / 1000).toFixed(1),
      "results elsewhere": others.length,
      "their p99 ms": `${undisturbed.toFixed(1)} → ${meanwhile.toFixed(1)}`,
    },
  };
}

function planTask(task: string): Report[] {
  return [
    statusReport({ task, group: 1 }, "RUNNING", "begun"),
    outputReport({ task, group: 2 }, "rows", 12),
    statusReport({ task, group: 3 }, "RUNNING", "half"),
    statusReport({ task, group: 4 }, "SUCCEEDED", "done"),
  ];
}
