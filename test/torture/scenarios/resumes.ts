import { createGrpcClient, type Message } from "../grpc-client.ts";
import type { Verdict } from "../judge.ts";
import { drained, listDeliveries } from "../ledger.ts";
import { uuidOf } from "../random.ts";
import type { Context, Scenario } from "../scenario.ts";
import { setStage, sleep } from "../stage.ts";
import { trackRun } from "../tracked-run.ts";

export interface ResumesOptions {
  streams: number;
  connections: number;
  updates: number;
  paceMs: number;
  kills: number;
  /** The safeguard. */
  keepsSession: boolean;
}

/** `kill -9` of the gateway in the middle of many streams: each goes on where it was. */
export const resumes: Scenario = {
  timeoutMs: 180_000,
  run: (context) =>
    runResumes(context, {
      streams: 500,
      connections: 5,
      updates: 12,
      paceMs: 500,
      kills: 3,
      keepsSession: true,
    }),
  control: (context) =>
    runResumes(context, {
      streams: 50,
      connections: 2,
      updates: 5,
      paceMs: 500,
      kills: 1,
      keepsSession: false,
    }),
};

export async function runResumes(context: Context, options: ResumesOptions): Promise<Verdict> {
  const { random } = context;
  const { sandbox, client, address, gateway, start } = await setStage(context, {
    env: { TASKGATE_LEASE_DURATION: "20s", TASKGATE_HEARTBEAT_INTERVAL: "5s" },
  });
  // So that attempts and answers are under way when the gateway dies.
  sandbox.orchestra.faults.set([
    { id: "slow", probability: 0.3, action: { kind: "delay", delayMs: 50 } },
    { id: "slow-answer", probability: 0.3, when: "after", action: { kind: "delay", delayMs: 50 } },
  ]);
  const clients = Array.from({ length: options.connections }, () => createGrpcClient(address));
  context.defer(() => {
    for (const each of clients) {
      each.close();
    }
  });
  const texts = Array.from({ length: options.updates }, (_, index) => `update ${index + 1}`);
  const frames: Message[] = [
    ...texts.map((message) => ({ update: { message } })),
    { finish: { status: "TASK_RUN_STATUS_SUCCEEDED", message: "done" } },
  ];
  const runs = Array.from({ length: options.streams }, (_, index) => {
    const taskRunId = uuidOf(random);
    const paceMs = options.paceMs * (0.5 + random());
    const { keepsSession } = options;
    const connection = clients[index % clients.length] ?? client;
    const run = trackRun(connection, { taskRunId, frames, paceMs, beatMs: 5000, keepsSession });
    context.defer(run.stop);
    return { taskRunId, run };
  });
  await Promise.all(runs.map(({ run }) => run.ready));
  const restartsMs: number[] = [];
  for (let kill = 0; kill < options.kills; kill += 1) {
    await sleep(options.paceMs * (1 + random()));
    await gateway().kill();
    await sleep(random() * 200);
    restartsMs.push(await start());
  }
  const all = Promise.all(runs.map(({ run }) => run.done));
  const isLate = Symbol();
  const ended = await Promise.race([all, sleep(90_000).then(() => isLate)]);
  const problems = ended === isLate ? ["not all runs came to their end"] : [];
  await drained(client, 60_000);

  const expected = ["RUNNING begun", ...texts.map((text) => `RUNNING ${text}`), "SUCCEEDED done"];
  let duplicates = 0;
  for (const { taskRunId, run } of runs) {
    const events = sandbox.orchestra.taskRuns.get(taskRunId)?.events ?? [];
    const arrived = events.map(({ event }) =>
      event.type === "UPDATE_STATUS" ? `${event.status ?? "?"} ${event.message}` : event.type,
    );
    // One that was cut off in its attempt may come again, before the next one.
    const once = arrived.filter((text, index) => text !== arrived[index - 1]);
    duplicates += arrived.length - once.length;
    if (once.join("; ") !== expected.join("; ")) {
      problems.push(`${taskRunId} arrived as ${once.join("; ")}`);
    }
    problems.push(...run.problems.map((problem) => `${taskRunId}: ${problem}`));
  }
  const deliveries = await listDeliveries(client);
  const repeated = deliveries.reduce((sum, { attempts }) => sum + Math.max(0, attempts - 1), 0);
  if (duplicates > repeated) {
    problems.push(`${duplicates} reports came twice, of which ${repeated} were sent twice`);
  }
  if (deliveries.length !== options.streams * expected.length) {
    problems.push(`${deliveries.length} deliveries of ${options.streams * expected.length} reports`);
  }
  const sum = (of: (run: (typeof runs)[number]["run"]) => number) =>
    runs.reduce((total, { run }) => total + of(run), 0);
  const breaks = sum((run) => run.breaks);
  if (breaks < options.streams) {
    problems.push(`only ${breaks} streams broke: nothing is proved`);
  }
  return {
    problems,
    figures: {
      streams: options.streams,
      kills: options.kills,
      breaks,
      reports: deliveries.length,
      "heard of by a resume": sum((run) => run.heardByResume),
      "sent twice": repeated,
      "came twice": duplicates,
      "restart ms": restartsMs.map((ms) => ms.toFixed(0)).join(", "),
    },
  };
}
