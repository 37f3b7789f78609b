import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { type AttackFigures, createAttacks } from "../attacks.ts";
import { percentile } from "../figures.ts";
import type { Verdict } from "../judge.ts";
import { uuidOf } from "../random.ts";
import type { Context, Scenario } from "../scenario.ts";
import { type Stage, setStage, sleep } from "../stage.ts";

export interface AttacksOptions {
  /** By turns it is quiet and attacked for so long. */
  windowMs: number;
  windows: number;
  /** How much longer the slowest of a hundred honest calls may take meanwhile. */
  maxRatio: number;
  maxGrowthMiB: number;
  env: Record<string, string>;
}

const long: AttacksOptions = { windowMs: 1500, windows: 3, maxRatio: 3, maxGrowthMiB: 384, env: {} };

/** Hostile peers beside an honest one. */
export const attacks: Scenario = {
  timeoutMs: 600_000,
  run: (context) => runAttacks(context, long),
  // Without the limits that Node has none for, floods go on for ever.
  control: (context) =>
    runAttacks(
      context,
      {
        ...long,
        windows: 1,
        env: {
          TASKGATE_MAX_PINGS_PER_MINUTE: "1000000000",
          TASKGATE_MAX_CONTROL_BYTES_PER_MINUTE: "1000GiB",
          TASKGATE_FIRST_BYTE_TIMEOUT: "1h",
        },
      },
      ["PINGs one by one", "WINDOW_UPDATE flood"],
    ),
};

// They send nothing that could be too much, and end by times that are longer than a window.
const quiet = new Set([
  "slowloris over HTTP/2",
  "slowloris over HTTP/1.1",
  "10,000 sockets without a preface",
  "connections that only begin",
  "gzip of 1 GiB in 1 MiB",
]);

/** Runs the attacks one after the other. */
export async function runAttacks(
  context: Context,
  options: AttacksOptions,
  names: readonly string[] = [...createAttacks().keys()],
): Promise<Verdict> {
  const stage = await setStage(context, { env: options.env });
  const { gateway } = stage;
  const port = Number(stage.address.split(":")[1]);
  const attacker = new Worker(new URL("../attacker.ts", import.meta.url), { workerData: { port } });
  context.defer(() => attacker.terminate());
  const problems: string[] = [];
  const figures: Verdict["figures"] = {};
  const honest = startHonest(context, stage);

  await sleep(2000);
  const rssBefore = gateway().rssMiB();
  for (const name of names) {
    const samples = { quiet: [] as number[], attacked: [] as number[] };
    const total: AttackFigures = { made: 0, ended: 0, sentMiB: 0 };
    for (let window = 0; window < options.windows; window += 1) {
      honest.take();
      await sleep(options.windowMs);
      samples.quiet.push(...honest.take());
      attacker.postMessage(name);
      await sleep(options.windowMs);
      samples.attacked.push(...honest.take());
      const told = once(attacker, "message");
      attacker.postMessage(undefined);
      const [seen] = (await told) as [AttackFigures];
      total.made += seen.made;
      total.ended += seen.ended;
      total.sentMiB += seen.sentMiB;
      // What is left of it is no part of the next quiet.
      await sleep(300);
    }
    const [before, during] = [percentile(samples.quiet, 0.99), percentile(samples.attacked, 0.99)];
    const ratio = during / before;
    const rss = gateway().rssMiB();
    figures[name] =
      `p99 ${before.toFixed(1)} → ${during.toFixed(1)} ms (${ratio.toFixed(2)}x of ${samples.attacked.length} calls), ` +
      `${total.made} connections, ${total.ended} ended, ${total.sentMiB.toFixed(0)} MiB, RSS ${rss.toFixed(0)} MiB`;
    context.note(`${name}: ${figures[name]}`);
    if (!gateway().isRunning()) {
      problems.push(`${name}: the gateway is gone\n${gateway().log()}`);
      break;
    }
    if (!(ratio <= options.maxRatio)) {
      problems.push(`${name}: honest calls take ${ratio.toFixed(2)} times as long`);
    }
    if (rss - rssBefore > options.maxGrowthMiB) {
      problems.push(`${name}: ${(rss - rssBefore).toFixed(0)} MiB more memory`);
    }
    if (total.made === 0) {
      problems.push(`${name}: nothing was attacked`);
    }
    if (!quiet.has(name) && total.ended === 0) {
      problems.push(`${name}: no connection was cut off`);
    }
  }
  problems.push(...honest.stop());
  if (/"level":"error"|"level":50|ERROR|unexpected/i.test(gateway().log())) {
    problems.push(`the gateway logged an error: ${gateway().log().slice(-2000)}`);
  }
  return { problems, figures };
}

// A few callers that report all the time, each of its own task.
function startHonest(context: Context, { client }: Stage) {
  let samples: number[] = [];
  const underWay = new Set<{ startMs: number }>();
  const problems: string[] = [];
  let isStopped = false;
  async function call(): Promise<void> {
    while (!isStopped) {
      const begun = { startMs: performance.now() };
      underWay.add(begun);
      const answer = await client.call("TaskStatusService", "UpdateTask", {
        taskRunId: uuidOf(context.random),
        status: "TASK_RUN_STATUS_RUNNING",
        message: "honest",
      });
      underWay.delete(begun);
      if (isStopped) {
        return;
      }
      samples.push(performance.now() - begun.startMs);
      if (answer.kind === "error") {
        problems.push(`an honest call was answered ${answer.code} ${answer.message}`);
      }
      await sleep(5);
    }
  }
  for (let caller = 0; caller < 4; caller += 1) {
    void call();
  }
  context.defer(() => {
    isStopped = true;
  });
  return {
    take(): number[] {
      // What is not answered yet has waited, too.
      const taken = [...samples, ...Array.from(underWay, ({ startMs }) => performance.now() - startMs)];
      samples = [];
      return taken;
    },
    stop(): string[] {
      isStopped = true;
      return problems.slice(0, 5);
    },
  };
}
