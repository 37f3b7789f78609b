import { median } from "../figures.ts";
import { fillStore } from "../fill-store.ts";
import type { GrpcClient } from "../grpc-client.ts";
import type { Verdict } from "../judge.ts";
import { listDeliveries } from "../ledger.ts";
import { type Random, uuidOf } from "../random.ts";
import type { Context, Scenario } from "../scenario.ts";
import { type Stage, setStage, sleep } from "../stage.ts";

const maxStartMs = 2000;
const maxRssMiB = 400;
const maxCostRatio = 1.3;

/** A gateway starts with a million reports that wait for an upstream that is down. */
export const bigStart: Scenario = {
  timeoutMs: 300_000,
  run: (context) => runBigStart(context, 1_000_000, true),
  // What it costs to look at every row before serving.
  control: (context) => runBigStart(context, 1_000_000, false),
};

async function runBigStart(context: Context, rows: number, isLazy: boolean): Promise<Verdict> {
  const { random } = context;
  const dataDir = context.directory();
  const fillStartMs = performance.now();
  fillStore(dataDir, rows, random);
  context.note(`${rows} rows took ${((performance.now() - fillStartMs) / 1000).toFixed(0)} s`);
  const env = { TASKGATE_OUTBOX_MAX_ROWS: "4000000", TASKGATE_LOG_LEVEL: "error" };
  // The first start of all fills the compile cache and the page cache.
  const empty = await setStage(context, { env });
  await empty.sandbox.orchestra.faults.setDown(true);
  await empty.gateway().kill();
  const emptyStartMs = await empty.start();
  const big = await setStage(context, { env, dataDir });
  await big.sandbox.orchestra.faults.setDown(true);
  await big.gateway().kill();
  let startMs = await big.start();
  if (!isLazy) {
    const listStartMs = performance.now();
    await listDeliveries(big.client);
    startMs += performance.now() - listStartMs;
  }
  const rssAtStart = big.gateway().rssMiB();
  await sleep(5000);
  const rssLater = big.gateway().rssMiB();

  // By turns, so that whatever else the machine does strikes both.
  const costs: { empty: number[]; big: number[] } = { empty: [], big: [] };
  for (let round = 0; round < 6; round += 1) {
    for (const [name, stage] of [
      ["empty", empty],
      ["big", big],
    ] as const) {
      const costMs = await costOf(stage, random, 2000);
      if (round > 0) {
        costs[name].push(costMs);
      }
    }
  }
  const ratio = median(costs.big) / median(costs.empty);
  const problems: string[] = [];
  const waiting = await big.client.call("GatewayService", "ListDeliveries", {
    states: ["DELIVERY_STATE_STORED"],
    pageSize: 1,
  });
  if (waiting.kind === "error" || (waiting.response.deliveries as unknown[] | undefined)?.length !== 1) {
    problems.push("nothing waits: nothing is proved");
  }
  if (startMs > maxStartMs) {
    problems.push(`the start took ${startMs.toFixed(0)} ms`);
  }
  if (Math.max(rssAtStart, rssLater) > maxRssMiB) {
    problems.push(`${Math.max(rssAtStart, rssLater).toFixed(0)} MiB of memory`);
  }
  if (ratio > maxCostRatio) {
    problems.push(`an UpdateTask costs ${ratio.toFixed(2)} of what it costs when the outbox is empty`);
  }
  return {
    problems,
    figures: {
      rows,
      "start ms": `${startMs.toFixed(0)} (empty ${emptyStartMs.toFixed(0)})`,
      "RSS MiB": `${rssAtStart.toFixed(0)} → ${rssLater.toFixed(0)} (empty ${empty.gateway().rssMiB().toFixed(0)})`,
      "UpdateTask µs": `${(median(costs.big) * 1000).toFixed(0)} (empty ${(median(costs.empty) * 1000).toFixed(0)})`,
      ratio: ratio.toFixed(2),
    },
  };
}

// Wall time per call with 64 in flight.
async function costOf({ client }: Stage, random: Random, calls: number): Promise<number> {
  const startMs = performance.now();
  let left = calls;
  await Promise.all(
    Array.from({ length: 64 }, async () => {
      while (left > 0) {
        left -= 1;
        await update(client, uuidOf(random));
      }
    }),
  );
  return (performance.now() - startMs) / calls;
}

async function update(client: GrpcClient, task: string): Promise<void> {
  const answer = await client.call("TaskStatusService", "UpdateTask", {
    taskRunId: task,
    status: "TASK_RUN_STATUS_RUNNING",
    message: "x".repeat(100),
    requestId: task,
  });
  if (answer.kind === "error") {
    throw new Error(`UpdateTask was answered ${answer.code} ${answer.message}`);
  }
}
