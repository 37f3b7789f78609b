import { setTimeout as delay } from "node:timers/promises";
import { findFreePort } from "../test/support/free-port.ts";
import { type ChildProcesses, failOnExit, kill } from "./child-processes.ts";
import { untilFirstAnswer } from "./first-answer.ts";
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
  ratioOfMedians: Record<keyof Start, number>;
  /** Round by round. */
  ratio: Record<keyof Start, Spread>;
}

/** The command that makes a program listen at an address. */
type CommandFor = (listen: string) => readonly string[];

/** What is compared. */
export interface Programs {
  taskgate: CommandFor;
  skeleton: CommandFor;
}

const maxRatio = 1.3;

/**
 * How long `taskgate serve` takes to its first answer, and how much memory it holds
 * then, beside a skeleton that loads the same libraries and nothing of ours.
 */
export function runStartUp(context: ScenarioContext): Promise<ScenarioResult> {
  const directory = temporaryDirectory();
  return compareStarts(context, {
    taskgate: (listen) => [process.execPath, ...taskgateArgs(listen, `--data-dir=${directory}`)],
    skeleton: (listen) => [process.execPath, ...skeletonArgs(listen, directory)],
  });
}

/** Starts both in turn, and holds the first against the second. */
export async function compareStarts(
  { children, rounds = 7, progress }: ScenarioContext,
  { taskgate, skeleton }: Programs,
): Promise<ScenarioResult> {
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

async function measureStart(children: ChildProcesses, commandFor: CommandFor): Promise<Start> {
  const address = `127.0.0.1:${await findFreePort()}`;
  const startMs = performance.now();
  const child = children.startCommand("server", commandFor(address), { stdio: "ignore" });
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
  const ratioOf = (figure: keyof Start) =>
    spreadOf(samples.map((sample) => sample.taskgate[figure] / sample.skeleton[figure]));
  return {
    taskgate,
    skeleton,
    ratioOfMedians: {
      firstAnswerMs: taskgate.firstAnswerMs.median / skeleton.firstAnswerMs.median,
      idleRssMiB: taskgate.idleRssMiB.median / skeleton.idleRssMiB.median,
    },
    ratio: { firstAnswerMs: ratioOf("firstAnswerMs"), idleRssMiB: ratioOf("idleRssMiB") },
  };
}

function summarizeStarts(starts: readonly Start[]): Record<keyof Start, Spread> {
  return {
    firstAnswerMs: spreadOf(starts.map(({ firstAnswerMs }) => firstAnswerMs)),
    idleRssMiB: spreadOf(starts.map(({ idleRssMiB }) => idleRssMiB)),
  };
}

function format({ taskgate, skeleton, ratioOfMedians, ratio }: StartUpSummary): string {
  const isKept = (figure: keyof Start) =>
    ratioOfMedians[figure] <= maxRatio && ratio[figure].median <= maxRatio ? "kept" : "MISSED";
  return [
    formatTable([
      ["", "first answer ms", "idle RSS MiB"],
      ["taskgate serve", formatSpread(taskgate.firstAnswerMs), formatSpread(taskgate.idleRssMiB)],
      ["skeleton", formatSpread(skeleton.firstAnswerMs), formatSpread(skeleton.idleRssMiB)],
      ["ratio of the medians", ratioOfMedians.firstAnswerMs.toFixed(2), ratioOfMedians.idleRssMiB.toFixed(2)],
      ["median of the ratios", formatSpread(ratio.firstAnswerMs, 2), formatSpread(ratio.idleRssMiB, 2)],
    ]),
    `target: ratios of at most ${maxRatio}: ${isKept("firstAnswerMs")}, ${isKept("idleRssMiB")}`,
  ].join("\n");
}
