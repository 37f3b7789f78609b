import { setTimeout as delay } from "node:timers/promises";
import { Pool } from "undici";
import { createWorkMeter } from "./work-meter.ts";
import type { WorkOptions, WorkRound } from "./work-options.ts";

// Workers that speak to Aidbox themselves: each polls for as many tasks as it has room
// for, starts them and says at once that they are done. Argument: `WorkOptions` as JSON.
// Each message is a `WorkRound`, which is answered with how it went; between them nobody polls.
const options: WorkOptions = JSON.parse(process.argv[2] ?? "");
const meter = createWorkMeter((result) => process.send?.(result));
const credentials = Buffer.from(`${options.clientId}:${options.clientSecret}`).toString("base64");
const headers = {
  authorization: `Basic ${credentials}`,
  "content-type": "application/json",
  accept: "application/json",
};
const pool = new Pool(options.address, { connections: 64, pipelining: 1 });
// How long a worker waits that found nothing.
const idleMs = 100;
process.once("disconnect", () => process.exit());
let working: Promise<void>[] = [];
process.on("message", async ({ tasks }: WorkRound) => {
  // Of the last round some still sleep.
  await Promise.all(working);
  meter.expect(tasks);
  working = Array.from({ length: options.workers }, work);
  process.send?.("ready");
});

interface Polled {
  id: string;
  execId: string;
  params: { readyMs: number };
}

async function work(): Promise<void> {
  let free = options.limit;
  let whenFree: (() => void) | undefined;
  while (meter.isOn) {
    if (free === 0) {
      await new Promise<void>((resolve) => {
        whenFree = resolve;
      });
    }
    const params = { taskDefinitions: [options.definition], maxBatchSize: free };
    const { resources } = (await rpc("awf.task/poll", params)) as { resources: Polled[] };
    free -= resources.length;
    for (const task of resources) {
      void perform(task).then(() => {
        free += 1;
        whenFree?.();
      });
    }
    if (resources.length === 0) {
      await delay(idleMs);
    }
  }
}

async function perform({ id, execId, params }: Polled): Promise<void> {
  meter.begin(params.readyMs);
  await rpc("awf.task/start", { id, execId });
  await rpc("awf.task/success", { id, execId, result: {} });
  meter.end();
}

async function rpc(method: string, params: object): Promise<unknown> {
  const body = JSON.stringify({ method, params });
  const answer = await pool.request({ path: "/rpc", method: "POST", headers, body });
  const { result, error } = (await answer.body.json()) as { result?: unknown; error?: unknown };
  if (result === undefined) {
    throw new Error(`${method}: ${JSON.stringify(error)}`);
  }
  return result;
}
