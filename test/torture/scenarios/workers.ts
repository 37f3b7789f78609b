import { percentile } from "../figures.ts";
import { createGrpcClient, type GrpcClient } from "../grpc-client.ts";
import type { Verdict } from "../judge.ts";
import { intBetween } from "../random.ts";
import type { Context, Scenario } from "../scenario.ts";
import { setStage, sleep } from "../stage.ts";
import { startTortureWorker } from "../torture-worker.ts";

export interface WorkersOptions {
  workers: number;
  /** How many tasks each takes at once. */
  limit: number;
  tasks: number;
  /** How many tasks become ready in a second. */
  tasksPerSecond: number;
  /** How long a task takes, at most. */
  maxWorkMs: number;
  leaseMs: number;
  /** How often the gateway is killed. */
  kills: number;
  /** The safeguard: what a dead worker held is reported as failed. */
  hasLeases: boolean;
  /** So long nothing may happen before what is left counts as lost. */
  stallMs: number;
}

/**
 * Workers over `Work` take tasks of Aidbox: a tenth of them dies, a tenth sleeps past its
 * lease, a tenth loses its stream. Every task must end once, by one of them.
 */
export const workersScenario: Scenario = {
  timeoutMs: 400_000,
  run: (context) =>
    runWorkers(context, {
      workers: 100,
      limit: 4,
      tasks: 10_000,
      tasksPerSecond: 150,
      maxWorkMs: 3000,
      leaseMs: 4000,
      kills: 0,
      hasLeases: true,
      stallMs: 30_000,
    }),
  control: (context) =>
    runWorkers(context, {
      workers: 100,
      limit: 4,
      tasks: 2000,
      tasksPerSecond: 150,
      maxWorkMs: 3000,
      leaseMs: 4000,
      kills: 0,
      hasLeases: false,
      stallMs: 15_000,
    }),
};

/** The same while the gateway itself is killed, and comes back. */
export const workerResumeScenario: Scenario = {
  timeoutMs: 400_000,
  run: (context) => runWorkers(context, { ...resuming, hasLeases: true }),
  control: (context) => runWorkers(context, { ...resuming, tasks: 1500, kills: 2, hasLeases: false }),
};

const resuming = {
  workers: 40,
  limit: 4,
  tasks: 4000,
  tasksPerSecond: 80,
  maxWorkMs: 1500,
  leaseMs: 4000,
  kills: 6,
  stallMs: 45_000,
};

const definition = "torture/work";
const workersPerConnection = 10;

export async function runWorkers(context: Context, options: WorkersOptions): Promise<Verdict> {
  const { random } = context;
  const { leaseMs, limit } = options;
  const stage = await setStage(context, {
    env: {
      TASKGATE_LEASE_DURATION: `${leaseMs}ms`,
      TASKGATE_HEARTBEAT_INTERVAL: `${leaseMs / 4}ms`,
    },
  });
  const { aidbox } = stage.sandbox;
  // Only the gateway's own switch can bring back in time what a dead worker held.
  aidbox.definitions.define(definition, {
    inProgressTimeout: 3_600_000,
    allowedRetryCount: 1000,
    retryDelay: 50,
  });

  const readyMs = new Map<string, number>();
  const waitsMs: number[] = [];
  const excesses: number[] = [];
  const clients: GrpcClient[] = [];
  const workers = Array.from({ length: options.workers }, (_, index) => {
    if (index % workersPerConnection === 0) {
      const client = createGrpcClient(stage.address);
      context.defer(() => client.close());
      clients.push(client);
    }
    const worker = startTortureWorker({
      client: clients.at(-1) as GrpcClient,
      random,
      name: `w${index}`,
      definition,
      limit,
      beatMs: leaseMs / 4,
      maxWorkMs: options.maxWorkMs,
      onLost: options.hasLeases ? "ON_LOST_FAIL" : "ON_LOST_IGNORE",
      onTask(id) {
        const sinceMs = readyMs.get(id);
        if (sinceMs !== undefined) {
          waitsMs.push(performance.now() - sinceMs);
          readyMs.delete(id);
        }
      },
      onExcess: (held) => excesses.push(held),
    });
    context.defer(() => worker.end());
    return worker;
  });

  const tenth = Math.max(1, Math.floor(options.workers / 10));
  const dying = workers.slice(0, tenth);
  const sleeping = workers.slice(tenth, 2 * tenth);
  const breaking = workers.slice(2 * tenth, 3 * tenth);
  const durationMs = (options.tasks / options.tasksPerSecond) * 1000;
  const troubles = [
    ...dying.map((worker, index) => () => worker.doom(index % 2 === 0 ? "broken" : "silent")),
    ...sleeping.map((worker) => () => worker.sleep(leaseMs * 1.5)),
    ...breaking.map((worker) => () => worker.breakStream()),
  ];
  for (const trouble of troubles) {
    const timer = setTimeout(trouble, durationMs * (0.1 + 0.8 * random()));
    context.defer(() => clearTimeout(timer));
  }

  const killing = killGateways();
  await createTasks();
  await killing;
  await untilEnded();

  const ended = aidbox.tasks.list();
  const problems: string[] = [];
  const open = ended.filter(({ resource }) => resource.outcome !== "succeeded");
  if (open.length > 0) {
    problems.push(
      `tasks that never ended: ${open.length} (${open
        .slice(0, 3)
        .map(({ resource }) => `${resource.id} ${resource.status}`)
        .join("; ")})`,
    );
  }
  let failures = 0;
  let refused = 0;
  let unstarted = 0;
  const twice: string[] = [];
  for (const { resource, executions } of ended) {
    let successes = 0;
    for (const { start, success, fail } of Object.values(executions)) {
      const outcomes = (success?.accepted ?? 0) + (fail?.accepted ?? 0);
      successes += success?.accepted ?? 0;
      failures += fail?.accepted ?? 0;
      refused += (success?.refused ?? 0) + (fail?.refused ?? 0);
      unstarted += start === undefined ? 1 : 0;
      if (outcomes > 1) {
        twice.push(resource.id);
      }
    }
    if (successes > 1) {
      twice.push(resource.id);
    }
  }
  if (twice.length > 0) {
    problems.push(`tasks that ended twice: ${twice.length} (${twice.slice(0, 3).join("; ")})`);
  }
  if (excesses.length > 0) {
    problems.push(
      `workers held more than ${limit}: ${excesses.length} times, up to ${Math.max(...excesses)}`,
    );
  }
  const shares = workers.slice(3 * tenth).map(({ done }) => done);
  const fairShare = options.tasks / options.workers;
  const starved = shares.filter((done) => done < fairShare / 4);
  if (starved.length > 0) {
    problems.push(`workers that starved: ${starved.length}, with ${Math.min(...starved)} tasks`);
  }
  if (options.hasLeases && failures === 0) {
    problems.push("no dead worker held a task: nothing is proved");
  }
  const alarms =
    stage
      .gateway()
      .log()
      .match(/"level":"error"/g)?.length ?? 0;
  if (alarms > 0) {
    problems.push(`the gateway logged errors: ${stage.gateway().log().slice(0, 500)}`);
  }
  return {
    problems,
    figures: {
      workers: options.workers,
      tasks: ended.length,
      "failed in a lost worker's name": failures,
      "late outcomes refused": refused,
      "told to stop": workers.reduce((sum, { stopped }) => sum + stopped, 0),
      "executions never started": unstarted,
      "fewest and most per worker": `${Math.min(...shares)} ${Math.max(...shares)}`,
      "ready to worker p50 ms": percentile(waitsMs, 0.5).toFixed(1),
      "p99 ms": percentile(waitsMs, 0.99).toFixed(1),
    },
  };

  async function killGateways(): Promise<void> {
    for (let killed = 0; killed < options.kills; killed += 1) {
      await sleep((durationMs / options.kills) * (0.5 + random() / 2));
      await stage.gateway().kill();
      await stage.start();
    }
  }

  async function createTasks(): Promise<void> {
    const startMs = performance.now();
    let noted = 0;
    for (let made = 0; made < options.tasks; ) {
      const due = ((performance.now() - startMs) / 1000) * options.tasksPerSecond;
      for (; made < Math.min(due, options.tasks); made += 1) {
        const created = aidbox.tasks.create({ definition, params: { n: made } });
        readyMs.set(created.value?.id ?? "", performance.now());
      }
      if (made - noted >= 1000) {
        noted = made;
        context.note(`${made} tasks, ${workers.reduce((sum, { done }) => sum + done, 0)} done`);
      }
      await sleep(intBetween(random, 5, 20));
    }
  }

  async function untilEnded(): Promise<void> {
    let left = Number.POSITIVE_INFINITY;
    let changedMs = performance.now();
    while (left > 0 && performance.now() - changedMs < options.stallMs) {
      await sleep(100);
      const now = aidbox.tasks.list().filter(({ resource }) => resource.status !== "done").length;
      if (now !== left) {
        left = now;
        changedMs = performance.now();
      }
    }
  }
}
