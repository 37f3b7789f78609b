import { setTimeout as delay } from "node:timers/promises";
import { type ChildProcesses, failOnExit, kill } from "./child-processes.ts";
import { untilFirstAnswer } from "./first-answer.ts";
import { findFreePort } from "./free-port.ts";
import { getInfoCall } from "./get-info-call.ts";
import { readUsage } from "./process-usage.ts";
import type { ScenarioContext, ScenarioResult } from "./scenario.ts";
import { skeletonArgs, taskgateArgs, temporaryDirectory } from "./servers.ts";
import { formatSpread, type Spread, spreadOf } from "./spread.ts";
import { formatTable } from "./table.ts";

/** One start of one program. */
interface Start {
  /** From the start of the process to the first call that was answered. */
  firstAnswerMs: number;
  /** One second later, in which it had nothing to do. */
  idleRssMiB: number;
}

interface StartUpSample {
  round: number;
  taskgate: Start;
  skeleton: Start;
}

interface StartUpSummary {
  taskgate: Record<keyof Start, Spread>;
  skeleton: Record<keyof Start, Spread>;
  ratioOfMedians: number;
  /** Round by round. */
  ratio: Spread;
}

const maxRatio = 1.3;

/**
 * How long `taskgate serve` takes to its first answer, and how much memory it holds
 * then, beside a skeleton that loads the same libraries and nothing of ours.
 */
export async function runStartUp({
  children,
  rounds = 11,
  progress,
}: ScenarioContext): Promise<ScenarioResult> {
  const directory = temporaryDirectory();
  const taskgate = (listen: string) => taskgateArgs(listen, `--data-dir=${directory}`);
  const skeleton = (listen: string) => skeletonArgs(listen, directory);
  progress("warm-up");
  // Brings the files of both into the machine's cache.
  await measureStart(children, taskgate);
  await measureStart(children, skeleton);
  const samples: StartUpSample[] = [];
  for (let round = 1; round <= rounds; round++) {
    progress(`round ${round} of ${rounds}`);
    samples.push({
      round,
      taskgate: await measureStart(children, taskgate),
      skeleton: await measureStart(children, skeleton),
    });
  }
  const summary = summarize(samples);
  return { text: format(summary), data: { maxRatio, summary, samples } };
}

async function measureStart(children: ChildProcesses, argsFor: (listen: string) => string[]): Promise<Start> {
  const address = `127.0.0.1:${await findFreePort()}`;
  const startMs = performance.now();
  const child = children.start("server", argsFor(address), { stdio: "ignore" });
  await Promise.race([untilFirstAnswer({ address, ...getInfoCall }), failOnExit(child)]);
  const firstAnswerMs = performance.now() - startMs;
  await delay(1000);
  const idleRssMiB = readUsage(child.pid ?? 0).rssMiB;
  await kill(child);
  return { firstAnswerMs, idleRssMiB };
}

function summarize(samples: readonly StartUpSample[]): StartUpSummary {
  const taskgate = summarizeStarts(samples.map((sample) => sample.taskgate));
  const skeleton = summarizeStarts(samples.map((sample) => sample.skeleton));
  return {
    taskgate,
    skeleton,
    ratioOfMedians: taskgate.firstAnswerMs.median / skeleton.firstAnswerMs.median,
    ratio: spreadOf(samples.map((sample) => sample.taskgate.firstAnswerMs / sample.skeleton.firstAnswerMs)),
  };
}

function summarizeStarts(starts: readonly Start[]): Record<keyof Start, Spread> {
  return {
    firstAnswerMs: spreadOf(starts.map(({ firstAnswerMs }) => firstAnswerMs)),
    idleRssMiB: spreadOf(starts.map(({ idleRssMiB }) => idleRssMiB)),
  };
}

function format({ taskgate, skeleton, ratioOfMedians, ratio }: StartUpSummary): string {
  const isKept = ratioOfMedians <= maxRatio && ratio.median <= maxRatio;
  return [
    formatTable([
      ["", "first answer ms", "idle RSS MiB"],
      ["taskgate serve", formatSpread(taskgate.firstAnswerMs), formatSpread(taskgate.idleRssMiB)],
      ["skeleton", formatSpread(skeleton.firstAnswerMs), formatSpread(skeleton.idleRssMiB)],
    ]),
    `ratio of the medians ${ratioOfMedians.toFixed(2)}, median of the ratios ${formatSpread(ratio, 2)}`,
    `target: a ratio of at most ${maxRatio}: ${isKept ? "kept" : "MISSED"}`,
  ].join("\n");
}
