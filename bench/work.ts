import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type AidboxAnswer, type AidboxProcess, startAidbox } from "./aidbox-process.ts";
import { type ChildProcesses, failOnExit } from "./child-processes.ts";
import { percentile } from "./measure-latencies.ts";
import type { Role } from "./pinning.ts";
import { readUsage } from "./process-usage.ts";
import { type RateSample, rateSampleOf, type Work } from "./rate-sample.ts";
import type { ScenarioContext, ScenarioResult } from "./scenario.ts";
import { startTaskgate, temporaryDirectory } from "./servers.ts";
import { formatSpread, spreadOf } from "./spread.ts";
import { formatTable } from "./table.ts";
import { formatThroughput, summarizeThroughput } from "./throughput-summary.ts";
import { verdictAtLeast, verdictAtMost } from "./verdict.ts";
import type { WorkOptions, WorkReply, WorkResult, WorkRound } from "./work-options.ts";

const workers = 20;
const limit = 5;
// All at once, to see how fast they are done; then one after the other, to see how fast they are handed out.
const heap = { tasks: 2000, perSecond: 1e9 };
const trickle = { tasks: 500, perSecond: 100 };
const minRatio = 0.9;
const maxPolls = 0.2;

interface WorkSample extends RateSample {
  waitP50Ms: number;
  waitP99Ms: number;
  polls: number;
  otherRequests: number;
}

/**
 * Tasks of Aidbox through `Work`: how many a second from ready to done, and how soon a
 * ready one reaches a worker, beside workers that poll Aidbox themselves, as many with
 * as many tasks at once. With how often each of them asks Aidbox.
 */
export async function runWork({ children, rounds = 3, progress }: ScenarioContext): Promise<ScenarioResult> {
  const aidbox = await startAidbox(children);
  const contenders = [
    await startThrough(children, aidbox, "bench/gate"),
    startDirect(children, aidbox, "bench/direct"),
  ];
  const samples: WorkSample[] = [];
  for (let round = 0; round <= rounds; round += 1) {
    progress(round === 0 ? "warm-up" : `round ${round} of ${rounds}`);
    for (const { name, run } of contenders) {
      const fast = await run(heap);
      if (round > 0) {
        samples.push({ ...rateSampleOf(round, name, fast), ...figuresOf(fast, await run(trickle)) });
      }
    }
  }
  const ratioOf = (figure: "polls" | "otherRequests") =>
    spreadOf(
      Array.from({ length: rounds }, (_, at) => {
        const [own, other] = [taskgate, direct].map((wanted) =>
          samples.find(({ round, contender }) => round === at + 1 && contender === wanted),
        );
        return (own?.[figure] ?? Number.NaN) / (other?.[figure] ?? Number.NaN);
      }),
    );
  const summary = summarizeThroughput(samples, direct);
  const ratio = summary.find(({ contender }) => contender === taskgate)?.callsRatio;
  const polls = ratioOf("polls");
  const others = ratioOf("otherRequests");
  return {
    text: [
      `${workers} workers with ${limit} tasks at once each`,
      formatThroughput(summary, "task"),
      "the client core has Aidbox, and of taskgate its workers too; workers that poll are the server",
      formatSamples(samples),
      verdictAtLeast("target: tasks a second: a ratio", ratio, minRatio),
      verdictAtMost(`polls ${formatSpread(polls, 2)}; target: a ratio`, polls, maxPolls),
      verdictAtMost(`other requests ${formatSpread(others, 2)}; target: a ratio`, others, 1),
    ].join("\n"),
    data: { minRatio, maxPolls, ratio, summary, polls, others, samples },
  };
}

const taskgate = "taskgate, Work";
const direct = "polling Aidbox";

/** One of the two ways to the tasks. */
interface WorkContender {
  name: string;
  run(tasks: typeof heap): Promise<Work & AidboxAnswer & WorkResult>;
}

async function startThrough(
  children: ChildProcesses,
  aidbox: AidboxProcess,
  definition: string,
): Promise<WorkContender> {
  const secretFile = join(temporaryDirectory(), "secret");
  writeFileSync(secretFile, aidbox.clientSecret);
  const gateway = await startTaskgate(
    children,
    `--aidbox-url=${aidbox.url}`,
    `--aidbox-client-id=${aidbox.clientId}`,
    `--aidbox-client-secret-file=${secretFile}`,
  );
  const work = startWorkers(
    children,
    "client",
    "./work-client-process.ts",
    aidbox,
    definition,
    gateway.address,
  );
  const pids = { server: [gateway.pid], client: [aidbox.pid, work.pid] };
  return { name: taskgate, run: (tasks) => measure(aidbox, work, definition, tasks, pids) };
}

// Workers that poll do what the gateway does otherwise, and where it does it.
function startDirect(children: ChildProcesses, aidbox: AidboxProcess, definition: string): WorkContender {
  const work = startWorkers(children, "server", "./poll-worker-process.ts", aidbox, definition, aidbox.url);
  const pids = { server: [work.pid], client: [aidbox.pid] };
  return { name: direct, run: (tasks) => measure(aidbox, work, definition, tasks, pids) };
}

interface WorkerProcess {
  pid: number;
  /** Resolves when it is ready for so many tasks; then with how it went. */
  expect(tasks: number): Promise<{ result: Promise<WorkResult> }>;
}

function startWorkers(
  children: ChildProcesses,
  role: Role,
  file: string,
  { clientId, clientSecret }: AidboxProcess,
  definition: string,
  address: string,
): WorkerProcess {
  const options: WorkOptions = { definition, workers, limit, address, clientId, clientSecret };
  const path = fileURLToPath(new URL(file, import.meta.url));
  const child = children.start(role, [path, JSON.stringify(options)], {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  const ended = failOnExit(child);
  ended.catch(() => undefined);
  async function next(wanted: (reply: WorkReply) => boolean): Promise<WorkReply> {
    for (;;) {
      const [reply] = (await Promise.race([once(child, "message"), ended])) as [WorkReply];
      if (wanted(reply)) {
        return reply;
      }
    }
  }
  return {
    pid: child.pid ?? 0,
    async expect(tasks) {
      const ready = next((reply) => reply === "ready");
      const result = next((reply) => reply !== "ready") as Promise<WorkResult>;
      child.send({ tasks } satisfies WorkRound);
      await ready;
      return { result };
    },
  };
}

async function measure(
  aidbox: AidboxProcess,
  work: WorkerProcess,
  definition: string,
  { tasks, perSecond }: typeof heap,
  pids: { server: number[]; client: number[] },
): Promise<Work & AidboxAnswer & WorkResult> {
  const { result } = await work.expect(tasks);
  const cpuMsOf = (own: number[]) => own.reduce((sum, pid) => sum + readUsage(pid).cpuMs, 0);
  const before = { server: cpuMsOf(pids.server), client: cpuMsOf(pids.client) };
  const answer = await aidbox.ask({ create: tasks, definition, perSecond });
  const serverCpuMs = cpuMsOf(pids.server) - before.server;
  const clientCpuMs = cpuMsOf(pids.client) - before.client;
  return { ...answer, ...(await result), calls: tasks, serverCpuMs, clientCpuMs };
}

function figuresOf(fast: AidboxAnswer, slow: WorkResult & AidboxAnswer): Omit<WorkSample, keyof RateSample> {
  return {
    waitP50Ms: percentile(slow.waitsMs, 0.5),
    waitP99Ms: percentile(slow.waitsMs, 0.99),
    polls: fast.polls + slow.polls,
    otherRequests: fast.others + slow.others,
  };
}

function formatSamples(samples: readonly WorkSample[]): string {
  const figures = [
    ["to worker p50 ms", "waitP50Ms"],
    ["p99 ms", "waitP99Ms"],
    ["polls", "polls"],
    ["other requests", "otherRequests"],
  ] as const;
  return formatTable([
    ["", ...figures.map(([title]) => title)],
    ...Array.from(
      Map.groupBy(samples, ({ contender }) => contender),
      ([name, own]) => [
        name,
        ...figures.map(([, figure]) => formatSpread(spreadOf(own.map((sample) => sample[figure])))),
      ],
    ),
  ]);
}
