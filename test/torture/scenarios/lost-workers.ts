import { randomInt } from "node:crypto";
import type { Sandbox } from "../../../src/sandbox/sandbox.ts";
import { findFreePort } from "../../support/free-port.ts";
import { percentile } from "../figures.ts";
import { type GatewayProcess, sandboxEnv, startGatewayProcess } from "../gateway-process.ts";
import type { Verdict } from "../judge.ts";
import { layNetwork, type Network } from "../network.ts";
import { uuidOf } from "../random.ts";
import type { Context, Scenario } from "../scenario.ts";
import { setStage, sleep } from "../stage.ts";
import { startWorker, type WorkerOptions, type WorkerProcess } from "../worker-process.ts";

/** How a worker falls silent. */
export type Blow = "kill" | "stop" | "cut" | "unary";

export interface LostWorkersOptions {
  /** How many fall silent in each way; of callbacks none is cut off or stopped. */
  runs: Partial<Record<Blow, number>>;
  callbacks: number;
  leaseMs: number;
  /** How much later than its lease a lost worker may be reported. */
  maxLateMs: number;
  /** The safeguard: without it nobody asks for a report. */
  onLost: WorkerOptions["onLost"];
}

/**
 * Workers that are killed, stopped or cut off, and ones that just beat no more: each is
 * reported in time, once, and hears of it when it comes back.
 */
export const lostWorkers: Scenario = {
  timeoutMs: 120_000,
  run: (context) =>
    runLostWorkers(context, {
      runs: { kill: 3, stop: 3, cut: 2, unary: 20 },
      callbacks: 3,
      leaseMs: 5000,
      maxLateMs: 1000,
      onLost: "ON_LOST_FAIL",
    }),
  control: (context) =>
    runLostWorkers(context, {
      runs: { kill: 1, stop: 1, unary: 1 },
      callbacks: 1,
      leaseMs: 3000,
      maxLateMs: 1000,
      onLost: "ON_LOST_IGNORE",
    }),
};

/** A worker that is to fall silent. */
interface Victim {
  readonly what: string;
  /** Waits until it is alive and known. Rejects when it is not. */
  begun(): Promise<void>;
  /** Does it. */
  strike(): void;
  /** When it said last that it lives, before it was struck; wall clock. */
  lastBeatMs(struckMs: number): number;
  /** When its upstream heard that it failed, every time. */
  reportedMs(): number[];
  /** Brings it back. Resolves with why it is to end; undefined: nobody says that it is, for so long. */
  comeBack(timeoutMs: number): Promise<string | undefined>;
}

export async function runLostWorkers(context: Context, options: LostWorkersOptions): Promise<Verdict> {
  const { leaseMs, onLost } = options;
  const problems: string[] = [];
  const figures: Verdict["figures"] = {};
  const beatMs = leaseMs / 4;
  const env = { TASKGATE_LEASE_DURATION: `${leaseMs}ms`, TASKGATE_HEARTBEAT_INTERVAL: `${beatMs}ms` };
  const { sandbox, address } = await setStage(context, { env });
  const victims: Victim[] = [];
  const common = { onLost, beatMs, patienceMs: leaseMs };

  function use(options: WorkerOptions, netns?: string): WorkerProcess {
    const worker = startWorker(options, netns);
    context.defer(() => worker.signal("SIGKILL"));
    return worker;
  }
  function run() {
    const taskRunId = uuidOf(context.random);
    return { task: { kind: "run", taskRunId } as const, reportedMs: () => failuresOf(sandbox, taskRunId) };
  }
  function callback() {
    const { process_id, callback_route } = sandbox.orchestrator.processes.start();
    return {
      task: { kind: "callback", callbackRoute: callback_route } as const,
      reportedMs: () =>
        sandbox.orchestrator.processes
          .get(process_id)
          ?.history.flatMap(({ event, at_ms }) => (event === "callback" ? [at_ms] : [])) ?? [],
    };
  }

  const killed = [
    ...Array.from({ length: options.runs.kill ?? 0 }, run),
    ...Array.from({ length: options.callbacks }, callback),
  ];
  for (const { task, reportedMs } of killed) {
    const worker = use({ ...common, address, task });
    victims.push({
      what: `kill -9 of the worker of a ${task.kind}`,
      ...ofProcess(worker),
      strike: () => worker.signal("SIGKILL"),
      reportedMs,
      async comeBack(timeoutMs) {
        const [ready] = worker.said.flatMap((said) => (said.event === "ready" ? [said.sessionId] : []));
        const heir = use({ ...worker.options, sessionId: ready ?? "" });
        return (await heir.saw("cancelled", timeoutMs))?.cause;
      },
    });
  }
  for (const { task, reportedMs } of Array.from({ length: options.runs.stop ?? 0 }, run)) {
    const worker = use({ ...common, address, task });
    victims.push({
      what: "SIGSTOP of the worker of a run",
      ...ofProcess(worker),
      strike: () => worker.signal("SIGSTOP"),
      reportedMs,
      async comeBack(timeoutMs) {
        worker.signal("SIGCONT");
        return (await worker.saw("cancelled", timeoutMs))?.cause;
      },
    });
  }
  for (const { task, reportedMs } of Array.from({ length: options.runs.unary ?? 0 }, run)) {
    victims.push(unaryVictim(`http://${address}`, task.taskRunId, onLost, beatMs, reportedMs));
  }
  const cuts = options.runs.cut ?? 0;
  const network = cuts > 0 ? layNetwork(randomInt(256)) : undefined;
  if (typeof network === "string") {
    const skipped = `SKIPPED: no network can be cut on this machine: ${network}`;
    context.note(skipped);
    figures["cut off"] = skipped;
  } else if (network !== undefined) {
    context.defer(network.remove);
    const { gateway, ...remote } = await startRemote(context, sandbox, network, env);
    context.defer(() => gateway.kill());
    let cutMs: number | undefined;
    for (const { task, reportedMs } of Array.from({ length: cuts }, run)) {
      const worker = use({ ...common, ...remote, task }, network.name);
      const { begun, lastBeatMs } = ofProcess(worker);
      victims.push({
        what: "a cut through the network of the worker of a run",
        begun,
        // The first one cuts all of them off.
        strike() {
          cutMs ??= Date.now();
          network.cut();
        },
        lastBeatMs: (struckMs) => lastBeatMs(cutMs ?? struckMs),
        reportedMs,
        async comeBack(timeoutMs) {
          network.mend();
          return (await worker.saw("cancelled", timeoutMs))?.cause;
        },
      });
    }
  }

  await Promise.all(victims.map(({ begun }) => begun()));
  // So that more than the first beat counts.
  await sleep(leaseMs);
  const lateMs: number[] = [];
  await Promise.all(
    victims.map(async (victim) => {
      await sleep(context.random() * beatMs);
      const early = victim.reportedMs().length;
      const struckMs = Date.now();
      victim.strike();
      const isAwaited = () => Date.now() - struckMs < leaseMs + options.maxLateMs + 500;
      while (victim.reportedMs().length === 0 && isAwaited()) {
        await sleep(20);
      }
      const [reportedMs] = victim.reportedMs();
      const lastMs = victim.lastBeatMs(struckMs);
      if (early > 0) {
        problems.push(`${victim.what}: it was reported as lost before`);
      } else if (reportedMs === undefined) {
        problems.push(`${victim.what}: it was never reported`);
      } else {
        lateMs.push(reportedMs - lastMs - leaseMs);
      }
      // Of one that was never reported nobody says anything.
      const cause = await victim.comeBack(reportedMs === undefined ? 1000 : 30_000);
      if (cause !== "ERROR_REASON_LEASE_EXPIRED") {
        problems.push(`${victim.what}: when it came back it heard ${cause}`);
      }
      if (victim.reportedMs().length > 1) {
        problems.push(`${victim.what}: it was reported ${victim.reportedMs().length} times`);
      }
    }),
  );
  const [soonest, latest] = [Math.min(...lateMs), Math.max(...lateMs)];
  if (latest > options.maxLateMs) {
    problems.push(`a lost worker was reported ${latest.toFixed(0)} ms behind its lease`);
  }
  // The last beat is counted from when it was sent.
  if (soonest < 0) {
    problems.push(`a worker was reported ${-soonest} ms before its lease was over`);
  }
  return {
    problems,
    figures: {
      workers: victims.length,
      "lease ms": leaseMs,
      reported: lateMs.length,
      "behind the lease ms, median": percentile(lateMs, 0.5).toFixed(0),
      "worst ms": latest.toFixed(0),
      ...figures,
    },
  };
}

function ofProcess(worker: WorkerProcess): Pick<Victim, "begun" | "lastBeatMs"> {
  return {
    async begun() {
      if ((await worker.saw("answered", 20_000)) === undefined) {
        throw new Error(`a worker does not beat: ${JSON.stringify(worker.said.slice(-3))}`);
      }
    },
    lastBeatMs: (struckMs) =>
      Math.max(
        ...worker.said.flatMap(({ event, atMs }) => (event === "beat" && atMs <= struckMs ? [atMs] : [])),
      ),
  };
}

// Beats by `fetch`, as anything that speaks HTTP/1.1 and JSON can.
function unaryVictim(
  url: string,
  taskRunId: string,
  onLost: string,
  beatMs: number,
  reportedMs: () => number[],
): Victim {
  let lastMs = 0;
  let sessionId = "";
  let beating: NodeJS.Timeout | undefined;
  async function beat(): Promise<Record<string, string>> {
    const response = await fetch(`${url}/taskgate.v1.TaskStatusService/HeartbeatRun`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ taskRunId, onLost, sessionId }),
    });
    if (!response.ok) {
      throw new Error(`a heartbeat was answered ${response.status} ${await response.text()}`);
    }
    return (await response.json()) as Record<string, string>;
  }
  return {
    what: "silence of a worker that beat over HTTP/1.1",
    async begun() {
      ({ sessionId = "" } = await beat());
      lastMs = Date.now();
      beating = setInterval(() => {
        lastMs = Date.now();
        beat().catch(() => undefined);
      }, beatMs);
      beating.unref();
    },
    strike: () => clearInterval(beating),
    lastBeatMs: () => lastMs,
    reportedMs,
    comeBack: async () => (await beat()).cause,
  };
}

function failuresOf({ orchestra }: Sandbox, taskRunId: string): number[] {
  return (
    orchestra.taskRuns
      .get(taskRunId)
      ?.events.flatMap(({ event, atMs }) =>
        event.type === "UPDATE_STATUS" && event.status === "FAILED" ? [atMs] : [],
      ) ?? []
  );
}

// A gateway that those on the other end of a wire reach.
async function startRemote(
  context: Context,
  sandbox: Sandbox,
  { host }: Network,
  env: Record<string, string>,
): Promise<{ gateway: GatewayProcess; address: string; token: string }> {
  const token = "a-token-that-nobody-guesses";
  const address = `${host}:${await findFreePort()}`;
  const gateway = startGatewayProcess(0, {
    ...sandboxEnv(sandbox),
    ...env,
    TASKGATE_LISTEN: address,
    TASKGATE_INSECURE_LISTEN: "true",
    TASKGATE_AUTH_TOKEN: token,
    TASKGATE_DATA_DIR: context.directory(),
  });
  return { gateway, address, token };
}
