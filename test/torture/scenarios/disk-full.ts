import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { status as Code } from "@grpc/grpc-js";
import type { GrpcClient, Message } from "../grpc-client.ts";
import { judge, type Verdict } from "../judge.ts";
import { arrivalsAt, drained, listDeliveries, type Report, statusReport, submit } from "../ledger.ts";
import { uuidOf } from "../random.ts";
import type { Context, Scenario } from "../scenario.ts";
import { setStage, sleep } from "../stage.ts";

const sizeMiB = 48;

/** The disk fills up, with the gateway's own reports and with somebody else's files, and is emptied again. */
export const diskFull: Scenario = {
  timeoutMs: 240_000,
  run: (context) => runDiskFull(context, true),
  control: (context) => runDiskFull(context, false),
  skipped() {
    const directory = mkdtempSync(join(tmpdir(), "taskgate-torture-"));
    try {
      mount(directory);
      execFileSync("umount", [directory], { stdio: "ignore" });
      return undefined;
    } catch (error) {
      return `a tmpfs cannot be mounted here: ${error instanceof Error ? error.message.split("\n")[0] : error}`;
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  },
};

function mount(directory: string): void {
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${sizeMiB}m`, "tmpfs", directory], { stdio: "pipe" });
}

async function runDiskFull(context: Context, isHonest: boolean): Promise<Verdict> {
  const { random } = context;
  const disk = context.directory();
  mount(disk);
  context.defer(() => execFileSync("umount", ["-l", disk]));
  const dataDir = join(disk, "data");
  const { sandbox, client, gateway } = await setStage(context, { dataDir });
  const problems: string[] = [];
  const reports: Report[] = [];
  const freeMiB = () => {
    const { bavail, bsize } = statfsSync(disk);
    return (bavail * bsize) / 1024 / 1024;
  };

  /** Reports until one is refused; returns that. */
  async function fill(name: string): Promise<Report | undefined> {
    for (let round = 0; round < 1000; round += 1) {
      const made = Array.from({ length: 16 }, () =>
        statusReport({ task: uuidOf(random), group: 1 }, "RUNNING", `${name} ${"x".repeat(16_000)}`),
      );
      reports.push(...made);
      await Promise.all(made.map((report) => submit(client, report)));
      const refused = made.find(({ told }) => told?.kind !== "acknowledged");
      if (refused !== undefined) {
        return refused;
      }
    }
    return undefined;
  }
  const acknowledged = () => reports.filter(({ told }) => told?.kind === "acknowledged").length;

  // 1. With its own reports.
  await sandbox.orchestra.faults.setDown(true);
  const first = await fill("own");
  const storedWhenFull = acknowledged();
  const freeWhenFull = freeMiB();
  await expectRefusal(client, problems, "full of its own reports");
  // Outcomes have a reserve: either they are kept, or they are told.
  const outcomes = reports
    .filter(({ told }) => told?.kind === "acknowledged")
    .slice(0, 50)
    .map(({ task }) => statusReport({ task, group: 2 }, "FAILED"));
  reports.push(...outcomes);
  await Promise.all(outcomes.map((report) => submit(client, report)));
  const outcomesKept = outcomes.filter(({ told }) => told?.kind === "acknowledged").length;
  await sandbox.orchestra.faults.setDown(false);
  let drainMs = await drained(client, 45_000).catch((error: Error) => {
    problems.push(
      `full, and what is stored is not delivered, with ${freeMiB().toFixed(1)} MiB free: ${error.message}`,
    );
    return undefined;
  });
  if (drainMs === undefined) {
    // An operator makes room: nothing must be lost for that.
    execFileSync("mount", ["-o", `remount,size=${3 * sizeMiB}m`, disk]);
    drainMs = await drained(client, 60_000);
  }
  const recoverMs = await recovered(client, reports, random);
  if (recoverMs === undefined) {
    problems.push(`after all was delivered nothing is taken for 20 s; ${freeMiB().toFixed(1)} MiB are free`);
  }

  // 2. With files of others.
  execFileSync("mount", ["-o", `remount,size=${3 * sizeMiB}m`, disk]);
  await recovered(client, reports, random);
  const filler = join(disk, "filler");
  const hold = Math.floor(freeMiB() * 1024 * 1024);
  try {
    writeFileSync(filler, Buffer.alloc(hold));
  } catch {
    // As much as went in.
  }
  await sandbox.orchestra.faults.setDown(true);
  const second = await fill("others");
  await sandbox.orchestra.faults.setDown(false);
  await drained(client, 45_000).catch((error: Error) => {
    problems.push(`full of others' files, and what is stored is not delivered: ${error.message}`);
  });
  rmSync(filler, { force: true });
  const recoverAgainMs = await recovered(client, reports, random);
  if (recoverAgainMs === undefined) {
    problems.push(`after others made room nothing is taken for 20 s; ${freeMiB().toFixed(1)} MiB are free`);
  }
  await drained(client, 60_000);

  for (const [name, refused] of [
    ["own", first],
    ["others", second],
  ] as const) {
    if (refused?.told?.kind !== "refused") {
      problems.push(`the disk was never full (${name}): nothing is proved`);
    } else if (refused.told.code !== Code.RESOURCE_EXHAUSTED) {
      problems.push(
        `full (${name}) is told as ${refused.told.code} ${refused.told.reason} ${refused.told.message}`,
      );
    }
  }
  if (!gateway().isRunning()) {
    problems.push(`the gateway has ended: ${gateway().log().slice(-500)}`);
  }
  const deliveries = await listDeliveries(client);
  const arrivals = arrivalsAt(sandbox);
  const judged = judge(
    { reports, deliveries, arrivals: isHonest ? arrivals : arrivals.slice(1) },
    { mayRefuse: ({ told }) => told?.kind === "refused" && told.code === Code.RESOURCE_EXHAUSTED },
  );
  return {
    problems: [...problems, ...judged.problems],
    figures: {
      "disk MiB": sizeMiB,
      "stored when full": storedWhenFull,
      "free MiB when full": freeWhenFull.toFixed(1),
      "outcomes kept when full": `${outcomesKept} of ${outcomes.length}`,
      "drain s": (drainMs / 1000).toFixed(1),
      "taken again after ms": `${recoverMs?.toFixed(0)} and ${recoverAgainMs?.toFixed(0)}`,
      acknowledged: judged.acknowledged,
    },
  };
}

async function expectRefusal(client: GrpcClient, problems: string[], when: string): Promise<void> {
  const request: Message = {
    taskRunId: "00000000-0000-4000-8000-000000000001",
    status: "TASK_RUN_STATUS_RUNNING",
    message: "x".repeat(64_000),
  };
  const answer = await client.call("TaskStatusService", "UpdateTask", request);
  if (answer.kind === "ok") {
    problems.push(`${when}, and a report is taken`);
  } else if (answer.code !== Code.RESOURCE_EXHAUSTED || answer.retryAfterMs === undefined) {
    problems.push(
      `${when}: told ${answer.code} ${answer.reason} ${answer.message}, RetryInfo ${answer.retryAfterMs}`,
    );
  }
}

// How long until reports are taken again; undefined: not within 20 s.
async function recovered(
  client: GrpcClient,
  reports: Report[],
  random: () => number,
): Promise<number | undefined> {
  const startMs = performance.now();
  while (performance.now() - startMs < 20_000) {
    const report = statusReport({ task: uuidOf(random), group: 1 }, "RUNNING", "again");
    reports.push(report);
    await submit(client, report);
    if (report.told?.kind === "acknowledged") {
      return performance.now() - startMs;
    }
    await sleep(250);
  }
  return undefined;
}
