import { rm } from "node:fs/promises";
import type { GatewayProcess } from "../gateway-process.ts";
import { createGrpcClient, type GrpcClient, type Message } from "../grpc-client.ts";
import { judge, type Verdict } from "../judge.ts";
import { arrivalsAt, drained, listDeliveries, statusReport, submit } from "../ledger.ts";
import { uuidOf } from "../random.ts";
import type { Context, Scenario } from "../scenario.ts";
import { type Stage, setStage, sleep } from "../stage.ts";

export interface StopOptions {
  calls: number;
  streams: number;
  drainMs: number;
  minAcceptMs: number;
  /** How long Orchestra takes for one report. */
  latencyMs: number;
  /** The safeguard: off, the gateway is killed instead of asked. */
  isAsked: boolean;
}

/** A gateway is asked to stop in the middle of its work: everybody is answered, and nothing is left. */
export const sigterm: Scenario = {
  timeoutMs: 120_000,
  run: (context) => runStop(context, { ...busy, isAsked: true }),
  control: (context) => runStop(context, { ...busy, calls: 200, streams: 20, isAsked: false }),
};

const busy = { calls: 1000, streams: 200, drainMs: 20_000, minAcceptMs: 1000, latencyMs: 300 };
const callsPerConnection = 250;
// A machine may be slow; what is waited for ends by itself.
const slackMs = 10_000;

export async function runStop(context: Context, options: StopOptions): Promise<Verdict> {
  const { calls, streams, drainMs, minAcceptMs, latencyMs } = options;
  const stage = await setStage(context, {
    env: { TASKGATE_DRAIN_TIMEOUT: `${drainMs}ms`, TASKGATE_MIN_ACCEPT: `${minAcceptMs}ms` },
  });
  const { sandbox, address } = stage;
  const gateway = stage.gateway();
  const problems: string[] = [];

  const streamClient = use(context, address);
  const opened = Array.from({ length: streams }, (_, index) =>
    // Half of the workers end their task when they hear that the gateway goes.
    openStream(streamClient, uuidOf(context.random), index % 2 === 0),
  );
  await Promise.all(opened.map(({ ready }) => ready));
  sandbox.orchestra.faults.add({ action: { kind: "delay", delayMs: latencyMs } });
  const reports = Array.from({ length: calls }, () =>
    statusReport({ task: uuidOf(context.random), group: 1, waitFor: "WAIT_FOR_DELIVERED" }, "SUCCEEDED"),
  );
  const gone = new AbortController();
  const answered = Promise.all(
    Array.from({ length: Math.ceil(calls / callsPerConnection) }, (_, connection) => {
      const client = use(context, address);
      const own = reports.slice(connection * callsPerConnection, (connection + 1) * callsPerConnection);
      return Promise.all(
        own.map((report) => submit(client, report, { timeoutMs: 60_000, signal: gone.signal })),
      );
    }),
  );
  const untilMs = performance.now() + 20_000;
  // The first of them are delivered while the last are stored.
  while (performance.now() < untilMs && (await storedCount(stage)) < calls * 0.9) {
    await sleep(20);
  }
  const unanswered = reports.filter(({ told }) => told === undefined).length;
  if (unanswered < calls * 0.6) {
    problems.push(`only ${unanswered} calls were in flight: nothing is proved`);
  }

  const stopMs = performance.now();
  const ended = options.isAsked ? gateway.stop() : gateway.kill().then(() => "SIGKILL");
  void ended.then(() => setTimeout(() => gone.abort(), 2000));
  if (options.isAsked) {
    problems.push(...(await judgeAccepting(context, address, minAcceptMs, gateway)));
  }
  const code = await ended;
  const stoppedMs = performance.now() - stopMs;
  await Promise.race([answered, sleep(5000)]);
  gone.abort();

  const refused = reports.filter(({ told }) => told?.kind !== "acknowledged").length;
  const repeated = reports.filter((report) => report.calls !== 1).length;
  if (refused > 0 || repeated > 0) {
    problems.push(`${refused} calls were not answered well, ${repeated} not by the first try`);
  }
  if (code !== 0 || stoppedMs > drainMs) {
    problems.push(`it ended with ${code} after ${stoppedMs.toFixed(0)} ms: ${gateway.log().slice(-300)}`);
  }
  const ends = await Promise.all(opened.map(({ end }) => Promise.race([end, sleep(2000)])));
  const [finished, told] = ["finished", "DRAINING"].map((how) => ends.filter((end) => end === how).length);
  if ((finished ?? 0) + (told ?? 0) !== streams || finished !== Math.ceil(streams / 2)) {
    problems.push(
      `of ${streams} streams ${finished} have finished and ${told} were told: ${[...new Set(ends)].join(", ")}`,
    );
  }
  const unheard = opened.filter(({ heardDrain }) => !heardDrain()).length;
  if (unheard > 0) {
    problems.push(`${unheard} streams did not hear that the gateway goes`);
  }
  const arrived = new Set(arrivalsAt(sandbox).map(({ reportId }) => reportId));
  const lost = reports.filter(({ id, told: answer }) => answer !== undefined && !arrived.has(id)).length;
  const unfinished = opened.filter(
    ({ taskRunId, finishes }) =>
      finishes && sandbox.orchestra.taskRuns.get(taskRunId)?.status !== "SUCCEEDED",
  ).length;
  if (lost > 0 || unfinished > 0) {
    problems.push(`${lost} reports and ${unfinished} ends of streams did not arrive`);
  }
  return {
    problems,
    figures: {
      "calls in flight": unanswered,
      streams,
      answered: calls - refused,
      "stopped after s": (stoppedMs / 1000).toFixed(1),
      "exit code": code,
      lost,
    },
  };
}

/** New connections are served until the minimum accept time is over, and refused before it ends. */
async function judgeAccepting(
  context: Context,
  address: string,
  minAcceptMs: number,
  gateway: GatewayProcess,
): Promise<string[]> {
  const startMs = performance.now();
  let wasServed = false;
  while (gateway.isRunning()) {
    const answer = await use(context, address).call("GatewayService", "GetInfo", {});
    if (answer.kind === "error") {
      const refusedMs = performance.now() - startMs;
      return [
        ...(refusedMs < minAcceptMs * 0.9 ? [`a new connection was refused after ${refusedMs} ms`] : []),
        ...(gateway.isRunning() ? [] : ["new connections were served until the end"]),
        ...(wasServed ? [] : ["no new connection was served while it drained"]),
      ];
    }
    wasServed ||= answer.response.draining === true;
    await sleep(50);
  }
  return ["new connections were served until the end"];
}

function use(context: Context, address: string): GrpcClient {
  const client = createGrpcClient(address);
  context.defer(() => client.close());
  return client;
}

async function storedCount({ client }: Pick<Stage, "client">): Promise<number> {
  const answer = await client.call("GatewayService", "ListDeliveries", { pageSize: 1000 });
  return answer.kind === "ok" ? ((answer.response.deliveries ?? []) as Message[]).length : 0;
}

function openStream(client: GrpcClient, taskRunId: string, finishes: boolean) {
  const ready = Promise.withResolvers<void>();
  const end = Promise.withResolvers<string>();
  let hasHeard = false;
  const stream = client.open("TaskStatusService", "TrackRun", {
    onMessage(message) {
      if (message.frame === "ready") {
        ready.resolve();
      } else if (message.frame === "directive") {
        const { directive } = message.directive as Message;
        if (directive === "DIRECTIVE_DRAIN" && !hasHeard) {
          hasHeard = true;
          if (finishes) {
            stream.write({ requestId: "end", finish: { status: "TASK_RUN_STATUS_SUCCEEDED" } });
            stream.halfClose();
          }
        }
      }
    },
    onEnd: (error) => end.resolve(error === undefined ? "finished" : (error.reason ?? error.message)),
  });
  stream.write({ requestId: "open", open: { taskRunId } });
  return { taskRunId, finishes, ready: ready.promise, end: end.promise, heardDrain: () => hasHeard };
}

export interface DownStopOptions {
  tasks: number;
  drainMs: number;
  /** The safeguard: off, the next gateway does not find what this one has stored. */
  keepsData: boolean;
}

/** A gateway is asked to stop while its upstream is down: it says what is left, and the next one delivers it. */
export const sigtermDown: Scenario = {
  timeoutMs: 120_000,
  run: (context) => runDownStop(context, { tasks: 1000, drainMs: 5000, keepsData: true }),
  control: (context) => runDownStop(context, { tasks: 50, drainMs: 1000, keepsData: false }),
};

export async function runDownStop(context: Context, options: DownStopOptions): Promise<Verdict> {
  const { tasks, drainMs, keepsData } = options;
  const stage = await setStage(context, { env: { TASKGATE_DRAIN_TIMEOUT: `${drainMs}ms` } });
  const { sandbox, client, dataDir } = stage;
  await sandbox.orchestra.faults.setDown(true);
  const reports = Array.from({ length: tasks }, () =>
    statusReport({ task: uuidOf(context.random), group: 1, waitFor: "WAIT_FOR_DELIVERED" }, "FAILED"),
  );
  // On connections of their own: one carries at most a thousand calls.
  const callers = [use(context, stage.address), use(context, stage.address)] as const;
  const answered = Promise.all(
    reports.map((report, index) => submit(callers[index % 2 === 0 ? 0 : 1], report, { timeoutMs: 60_000 })),
  );
  while ((await storedCount(stage)) < Math.min(tasks, 1000)) {
    await sleep(50);
  }
  const gateway = stage.gateway();
  const stopMs = performance.now();
  const code = await gateway.stop();
  const stoppedMs = performance.now() - stopMs;
  await answered;
  const problems: string[] = [];
  if (code !== 4) {
    problems.push(`it ended with ${code}, not 4`);
  }
  if (stoppedMs < drainMs * 0.95 || stoppedMs > drainMs + slackMs) {
    problems.push(`it took ${stoppedMs.toFixed(0)} ms of ${drainMs}`);
  }
  const [, told] = /"undelivered":(\d+)/.exec(gateway.log()) ?? [];
  if (Number(told) !== tasks) {
    problems.push(`it said that ${told} of ${tasks} are not delivered: ${gateway.log().slice(-300)}`);
  }
  await sandbox.orchestra.faults.setDown(false);
  if (!keepsData) {
    await rm(dataDir, { recursive: true, force: true });
  }
  await stage.start();
  const drainedMs = await drained(client, 60_000);
  const judged = judge({ reports, deliveries: await listDeliveries(client), arrivals: arrivalsAt(sandbox) });
  return {
    problems: [...problems, ...judged.problems],
    figures: {
      reports: tasks,
      "exit code": code,
      "stopped after s": (stoppedMs / 1000).toFixed(1),
      "said to be left": told ?? "nothing",
      "delivered by the next after s": (drainedMs / 1000).toFixed(1),
    },
  };
}

export interface EmergencyOptions {
  outcomes: number;
  statuses: number;
  latencyMs: number;
  /** The safeguard: off, the gateway is not asked before it is killed. */
  isAsked: boolean;
}

/** Two seconds between SIGTERM and SIGKILL: outcomes go first, and the rest is still there. */
export const emergency: Scenario = {
  timeoutMs: 180_000,
  run: (context) => runEmergency(context, { ...crowded, isAsked: true }),
  control: (context) => runEmergency(context, { ...crowded, outcomes: 100, statuses: 500, isAsked: false }),
};

const crowded = { outcomes: 500, statuses: 5000, latencyMs: 100 };
const graceMs = 2000;

export async function runEmergency(context: Context, options: EmergencyOptions): Promise<Verdict> {
  const { outcomes, statuses, latencyMs, isAsked } = options;
  const stage = await setStage(context);
  const { sandbox, client } = stage;
  const { orchestra } = sandbox;
  await orchestra.faults.setDown(true);
  const reports = Array.from({ length: outcomes + statuses }, (_, index) => {
    const isOutcome = index % Math.round((outcomes + statuses) / outcomes) === 0;
    const task = uuidOf(context.random);
    return statusReport({ task, group: 1 }, isOutcome ? "SUCCEEDED" : "RUNNING");
  });
  await Promise.all(reports.map((report) => submit(client, report)));
  const gateway: GatewayProcess = stage.gateway();
  // Every origin that has been down for a while is asked only now and then.
  await sleep(3000);
  orchestra.faults.add({ action: { kind: "delay", delayMs: latencyMs } });
  await orchestra.faults.setDown(false);
  const before = arrivalsAt(sandbox).length;
  if (isAsked) {
    void gateway.stop();
    await sleep(graceMs);
  }
  await gateway.kill();
  const kindOf = new Map(reports.map(({ id, kind }) => [id, kind]));
  const sent = arrivalsAt(sandbox)
    .toSorted((a, b) => a.atMs - b.atMs)
    .map(({ reportId }) => kindOf.get(reportId ?? ""));
  const all = reports.filter(({ kind }) => kind === "outcome").length;
  const gone = sent.filter((kind) => kind === "outcome").length;
  const others = sent.length - gone;
  const problems: string[] = [];
  // What two seconds allow is what was sent in them; of that 95 in 100 must be outcomes as long as there are any.
  const share = gone / Math.min(all, Math.max(1, sent.length));
  if (share < 0.95) {
    problems.push(`${gone} of ${all} outcomes and ${others} others have left in ${graceMs} ms`);
  }
  orchestra.faults.clear();
  await stage.start();
  const drainedMs = await drained(client, 60_000);
  const judged = judge(
    { reports, deliveries: await listDeliveries(client), arrivals: arrivalsAt(sandbox) },
    { maxDuplicates: inFlightAtMost },
  );
  return {
    problems: [...problems, ...judged.problems],
    figures: {
      "outcomes waiting": all,
      "others waiting": reports.length - all,
      "left before": before,
      "outcomes gone in 2 s": gone,
      "others gone": others,
      duplicates: judged.duplicates,
      "rest delivered by the next after s": (drainedMs / 1000).toFixed(1),
    },
  };
}

// Under way, and recorded as begun behind them.
const inFlightAtMost = 128;
