import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statfsSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createRandom } from "../random.ts";
import { judgeDirectory, readPromises } from "./judge-directory.ts";
import { createLossyDisk, type Fate } from "./lossy-disk.ts";
import { type FileOp, readTrace, tracedCalls } from "./read-trace.ts";

// What a power loss, a kill in the middle of a write and a failing sync leave of
// what was acknowledged. Needs strace; without it nothing is shown, and it says so.

const { env, stdout, execPath } = process;
const writer = fileURLToPath(new URL("./writer.ts", import.meta.url));
const budgetMs = Number(env.BUDGET_MS ?? 110_000);
const beganMs = performance.now();
const seed = Number(env.SEED ?? 1);
const work = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "taskgate-power-"));
let place = 0;

interface Ran {
  status: number | null;
  directory: string;
  lines: string[];
  tracePath: string;
  log: string;
}

/** Runs the writer under strace, in a directory of its own. */
function runWriter(straceArgs: (directory: string) => string[], synchronous = "FULL", batches = 40): Ran {
  place += 1;
  const base = join(work, `run-${place}`);
  const directory = join(base, "data");
  const log = join(base, "log");
  const tracePath = join(base, "trace");
  mkdirSync(base);
  writeFileSync(log, "");
  const { status, error } = spawnSync(
    "strace",
    [
      "-f",
      "-qq",
      "-o",
      tracePath,
      ...straceArgs(directory),
      execPath,
      writer,
      `--directory=${directory}`,
      `--log=${log}`,
      `--synchronous=${synchronous}`,
      `--batches=${batches}`,
    ],
    { stdio: ["ignore", "ignore", "pipe"], timeout: 60_000 },
  );
  if (error !== undefined) {
    throw error;
  }
  return { status, directory, lines: readFileSync(log, "utf8").split("\n"), tracePath, log };
}

// Space that is taken by a hole: what is judged is the database.
function placeBallast(directory: string): void {
  const { blocks, bsize } = statfsSync(directory);
  const path = join(directory, "ballast");
  writeFileSync(path, "", { mode: 0o600 });
  truncateSync(path, Math.min(8 * 1024 * 1024, Math.floor((blocks * bsize) / 16)));
}

interface LossResult {
  syncs: number;
  /** Pages that went from the log into the database while it was written. */
  checkpointed: number;
  acknowledged: number;
  judged: number;
  lost: number;
  first: string | undefined;
}

/** Fails the power at every sync, and in between, and judges what is left. */
function losePower(synchronous: string, untilMs: number): LossResult {
  const trace = (_directory: string) => ["-y", "-xx", "-s", "100000", "-e", `trace=${tracedCalls}`];
  const ran = runWriter(trace, synchronous, 60);
  if (ran.status !== 0) {
    throw new Error(`the writer ended with ${ran.status}: ${ran.lines.at(-2)}`);
  }
  const ops: FileOp[] = readTrace(ran.tracePath, ran.directory, ran.log);
  rmSync(ran.tracePath);
  const random = createRandom(seed);
  const disk = createLossyDisk();
  const said: string[] = [];
  const syncs = ops.filter(({ kind }) => kind === "sync" || kind === "syncDirectory").length;
  const saidTotal = ops.filter(({ kind }) => kind === "said").length;
  const firstSaid = ops.findIndex(({ kind }) => kind === "said");
  const checkpointed = ops
    .slice(firstSaid)
    .filter((op) => op.kind === "write" && op.name === "outbox.db").length;
  const result: LossResult = { syncs, checkpointed, acknowledged: 0, judged: 0, lost: 0, first: undefined };

  function judge(fate: Fate, index: number): void {
    if (performance.now() > untilMs) {
      return;
    }
    const directory = join(work, `lost-${place}-${index}-${fate}`);
    disk.writeTo(directory, fate, random);
    placeBallast(directory);
    const problems = judgeDirectory(directory, readPromises(said));
    result.judged += 1;
    if (problems.length > 0) {
      result.lost += 1;
      result.first ??= `power lost at operation ${index}, ${fate} of the later writes: ${problems[0]}`;
    }
    rmSync(directory, { recursive: true });
  }

  for (const [index, op] of ops.entries()) {
    const isSync = op.kind === "sync" || op.kind === "syncDirectory";
    if (isSync) {
      // Before it has ended: what it was to make safe may be there or not.
      judge("some", index);
    }
    disk.apply(op);
    if (op.kind === "said") {
      said.push(...op.text.split("\n"));
      result.acknowledged += 1;
      // Without syncs there is no other moment to look at.
      if (result.acknowledged % Math.max(1, Math.floor(saidTotal / 60)) === 0) {
        judge("nothing", index);
        judge("some", index);
      }
    } else if (isSync) {
      judge("nothing", index);
    }
  }
  return result;
}

interface InjectResult {
  runs: number;
  struck: number;
  fatal: number;
  lost: number;
  first: string | undefined;
}

/** Injects something at every n-th call, as far as the time goes, and judges what is left. */
function inject(calls: string, effect: string, most: number, untilMs: number): InjectResult {
  const result: InjectResult = { runs: 0, struck: 0, fatal: 0, lost: 0, first: undefined };
  const batches = 6;
  const paths = (directory: string) =>
    ["outbox.db", "outbox.db-wal"].flatMap((name) => ["-P", join(directory, name)]);
  const countingMs = performance.now();
  const counting = runWriter((directory) => [...paths(directory), "-e", `trace=${calls}`], "FULL", batches);
  const total = readFileSync(counting.tracePath, "utf8")
    .split("\n")
    .filter((line) => line.includes("(")).length;
  const oneMs = 1.3 * (performance.now() - countingMs);
  const affordable = Math.max(1, Math.min(most, (untilMs - performance.now()) / oneMs));
  const step = Math.max(1, total / affordable);
  for (let at = 1; at <= total && performance.now() < untilMs; at += step) {
    const when = Math.floor(at);
    const ran = runWriter(
      (directory) => [
        ...paths(directory),
        "-e",
        `trace=${calls}`,
        "-e",
        `inject=${calls}:${effect}:when=${when}`,
      ],
      "FULL",
      batches,
    );
    const promised = readPromises(ran.lines);
    result.runs += 1;
    result.fatal += promised.isFatal ? 1 : 0;
    result.struck += promised.isDone ? 0 : 1;
    const afterFatal = ran.lines.slice(ran.lines.indexOf("fatal") + 1);
    const problems = judgeDirectory(ran.directory, promised);
    if (promised.isFatal && afterFatal.some((line) => line !== "")) {
      problems.push("something was acknowledged after the store had failed");
    }
    if (problems.length > 0) {
      result.lost += 1;
      result.first ??= `${effect} at ${when} of ${calls}: ${problems[0]}`;
    }
    rmSync(join(ran.directory, ".."), { recursive: true });
  }
  return result;
}

function main(): number {
  const { error } = spawnSync("strace", ["-qq", "-o", "/dev/null", "true"]);
  if (error !== undefined) {
    stdout.write(
      "power-loss SKIPPED: there is no strace here (apt-get install strace), and nothing was shown\n",
    );
    return 0;
  }
  const failures: string[] = [];
  const until = (share: number) => beganMs + budgetMs * share;

  const full = losePower("FULL", until(0.35));
  stdout.write(`power loss, FULL: ${JSON.stringify(full)}\n`);
  if (full.lost > 0 || full.judged < 100 || full.checkpointed < 100) {
    failures.push(
      `FULL lost in ${full.lost} of ${full.judged} states, ${full.checkpointed} pages in checkpoints: ${full.first}`,
    );
  }
  const controls = (["NORMAL", "OFF"] as const).map((synchronous, index) => {
    const control = losePower(synchronous, until(0.45 + index * 0.1));
    stdout.write(`power loss, ${synchronous} (must lose): ${JSON.stringify(control)}\n`);
    if (control.lost === 0) {
      failures.push(`${synchronous} lost nothing: the test cannot tell`);
    }
    return `${synchronous} lost in ${control.lost} of ${control.judged}`;
  });

  const kills = ["pwrite64", "fsync,fdatasync"].map((calls, index) => {
    const killed = inject(calls, "signal=KILL", 60, until(0.7 + index * 0.13));
    stdout.write(`killed at ${calls}: ${JSON.stringify(killed)}\n`);
    if (killed.lost > 0 || killed.struck < 5) {
      failures.push(
        `${killed.lost} of ${killed.runs} kills at ${calls} lost, ${killed.struck} struck: ${killed.first}`,
      );
    }
    return killed.struck;
  });
  const eio = inject("fsync,fdatasync", "error=EIO", 40, until(1));
  stdout.write(`EIO at a sync: ${JSON.stringify(eio)}\n`);
  if (eio.lost > 0 || eio.fatal === 0) {
    failures.push(`EIO: ${eio.lost} of ${eio.runs} lost, ${eio.fatal} fatal: ${eio.first}`);
  }

  const seconds = ((performance.now() - beganMs) / 1000).toFixed(0);
  const figures =
    `0 of ${full.judged} states after a power loss at ${full.syncs} syncs lost any of ${full.acknowledged} acknowledged; ` +
    `controls: ${controls.join(", ")}; ${kills.join(" + ")} kills at a write or sync, ${eio.fatal} fatal of ${eio.runs} EIO`;
  stdout.write(
    failures.length === 0
      ? `power-loss passed in ${seconds} s: ${figures}\n`
      : `power-loss FAILED in ${seconds} s: ${failures.join("; ")}\n`,
  );
  return failures.length === 0 ? 0 : 1;
}

try {
  process.exitCode = main();
} finally {
  rmSync(work, { recursive: true, force: true });
}
