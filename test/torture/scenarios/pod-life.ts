import { join } from "node:path";
import { type Sandbox, startSandbox } from "../../../src/sandbox/sandbox.ts";
import { findFreePort, findSandboxPorts } from "../../support/free-port.ts";
import { sandboxEnv } from "../gateway-process.ts";
import type { Verdict } from "../judge.ts";
import { livePod, type PodLife, type PodOptions } from "../pod.ts";
import { uuidOf } from "../random.ts";
import type { Context, Scenario } from "../scenario.ts";

export interface PodLifeOptions {
  /** The safeguard: off, the worker does not wait for the gateway's startup probe. */
  hasGate: boolean;
  graceMs: number;
}

/**
 * The lives that a pod with a sidecar can have, one after the other: a worker that ends by
 * itself, one that is told to, one that uses up the grace period of both, a gateway that
 * cannot deliver in time and is killed, and one that does not start.
 */
export const podLife: Scenario = {
  timeoutMs: 180_000,
  run: (context) => runPodLife(context, { hasGate: true, graceMs: 12_000 }),
  control: (context) => runPodLife(context, { hasGate: false, graceMs: 12_000 }),
};

/** A run that is reported by its worker, and what its pod is given. */
function podOf(context: Context, sandbox: Sandbox, dataDir: string, opsPort: number) {
  const taskRunId = uuidOf(context.random);
  const socket = `unix:${join(context.directory(), "s")}`;
  return {
    taskRunId,
    status: () => sandbox.orchestra.taskRuns.get(taskRunId)?.status ?? undefined,
    options: {
      opsPort,
      env: {
        ...sandboxEnv(sandbox),
        TASKGATE_LISTEN: socket,
        TASKGATE_OPS_LISTEN: `127.0.0.1:${opsPort}`,
        TASKGATE_DATA_DIR: dataDir,
        TASKGATE_DRAIN_TIMEOUT: "5s",
        TASKGATE_LOG_LEVEL: "warn",
      },
      workerEnv: {
        TASKGATE_GATEWAY: socket,
        ORCHESTRA_TASK_RUN_ID: taskRunId,
        TASKGATE_REPORT_TIMEOUT: "5s",
        PATH: process.env.PATH ?? "",
      },
    },
  };
}

const works = (ms: number) => `setTimeout(() => process.exit(0), ${ms})`;
const cleansUp = (ms: number) => `setInterval(() => {}, 1000);
  process.on("SIGTERM", () => setTimeout(() => process.exit(3), ${ms}))`;
const ignoresAll = `setInterval(() => {}, 1000); process.on("SIGTERM", () => {})`;

export async function runPodLife(context: Context, { hasGate, graceMs }: PodLifeOptions): Promise<Verdict> {
  const sandbox = await startSandbox({ random: context.random, ports: await findSandboxPorts() });
  context.defer(() => sandbox.close());
  const opsPort = await findFreePort();
  const problems: string[] = [];
  const figures: Verdict["figures"] = {};

  async function live(
    name: string,
    plan: Pick<PodOptions, "program"> & Partial<PodOptions> & { dataDir?: string },
    judge: (life: PodLife, status: string | undefined) => (string | false)[],
  ): Promise<void> {
    const { taskRunId, options, status } = podOf(
      context,
      sandbox,
      plan.dataDir ?? context.directory(),
      opsPort,
    );
    const env = { ...options.env, ...plan.env };
    const life = await livePod(context, { ...options, graceMs, hasGate, ...plan, env });
    for (const problem of judge(life, status())) {
      if (problem !== false) {
        problems.push(`${name}: ${problem} (${taskRunId}, ${JSON.stringify(life)})`);
      }
    }
    figures[name] = `${life.worker}/${life.gateway} in ${(life.endMs / 1000).toFixed(1)} s`;
  }
  const ended = (life: PodLife, worker: PodLife["worker"], gateway: PodLife["gateway"]) =>
    (life.worker !== worker || life.gateway !== gateway) &&
    `it ended with ${life.worker} and ${life.gateway}`;
  const within = (life: PodLife, ms: number) =>
    life.endMs > ms && `it took ${life.endMs.toFixed(0)} ms to end`;

  await live("a job that ends", { program: works(300) }, (life, status) => [
    ended(life, 0, 0),
    status !== "SUCCEEDED" && `Orchestra was told ${status}`,
    within(life, 5000),
  ]);
  await live("a deletion", { program: cleansUp(1000), deleteAfterMs: 2000 }, (life, status) => [
    ended(life, 3, 0),
    status !== "FAILED" && status !== "CANCELLED" && `Orchestra was told ${status}`,
    within(life, graceMs),
  ]);
  // The worker takes all of it: the gateway is told together with it, two seconds before the end.
  await live(
    "a worker that does not end",
    { program: ignoresAll, deleteAfterMs: 2000, graceMs: 4000 },
    (life, status) => [
      life.worker !== "SIGKILL" && `the worker ended with ${life.worker}`,
      status !== "RUNNING" && `Orchestra was told ${status}`,
      within(life, 4000 + 2000 + 1000),
      life.gatewayLog.includes("damaged") && "its outbox is damaged",
    ],
  );

  // The grace period is over before the gateway's own time is.
  const dataDir = context.directory();
  const down = podOf(context, sandbox, dataDir, opsPort);
  await sandbox.orchestra.faults.setDown(true);
  const life = await livePod(context, {
    ...down.options,
    env: { ...down.options.env, TASKGATE_DRAIN_TIMEOUT: "60s" },
    program: works(100),
    graceMs: 2000,
    hasGate,
  });
  await sandbox.orchestra.faults.setDown(false);
  if (life.gateway !== "SIGKILL" && life.gateway !== 5) {
    problems.push(`killed: the gateway ended with ${life.gateway}: ${life.gatewayLog}`);
  }
  figures.killed = `${life.worker}/${life.gateway} in ${(life.endMs / 1000).toFixed(1)} s`;
  // The kubelet starts its container again, on the same volume.
  await live("started again", { program: works(100), dataDir }, (again) => [ended(again, 0, 0)]);
  if (down.status() !== "SUCCEEDED") {
    problems.push(`killed: what was stored did not reach Orchestra: ${down.status()}`);
  }

  await live(
    "a gateway that does not start",
    { program: works(100), env: { TASKGATE_LEASE_DURATION: "soon" }, gateTimeoutMs: 10_000 },
    (lived) => [
      lived.gateway !== 1 && `it ended with ${lived.gateway}`,
      lived.worker !== undefined && "its worker was started",
    ],
  );
  return { problems, figures };
}
