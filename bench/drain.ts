import { setTimeout as delay } from "node:timers/promises";
import { findFreePort } from "./free-port.ts";
import { startLoadProcess } from "./load-process.ts";
import type { ScenarioContext, ScenarioResult } from "./scenario.ts";
import { readTaken, sendWithUndici, startUpstream, startWithOrchestra } from "./servers.ts";
import { formatSpread, spreadOf } from "./spread.ts";
import { updatePath, updatesOf } from "./update-call.ts";

const backlog = 20_000;
const runs = 1000;
const minRatio = 0.5;
const timeLimitMs = 120_000;

interface DrainSample {
  round: number;
  taskgatePerSecond: number;
  undiciPerSecond: number;
  ratio: number;
}

/**
 * How fast a backlog of 20,000 updates of a thousand runs leaves when Orchestra is back,
 * beside undici alone, which sends as many to the same upstream over as many connections.
 */
export async function runDrain({ children, rounds = 3, progress }: ScenarioContext): Promise<ScenarioResult> {
  const samples: DrainSample[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    progress(`round ${round} of ${rounds}`);
    const address = `127.0.0.1:${await findFreePort()}`;
    const taskgate = await startWithOrchestra(children, `http://${address}/`);
    await startLoadProcess(children).run({
      address: taskgate.address,
      path: updatePath,
      request: updatesOf(runs),
      durationMs: timeLimitMs,
      maxCalls: backlog,
    });
    await startUpstream(children, address);
    const taskgatePerSecond = await untilTaken(address);
    const other = await startUpstream(children);
    await sendWithUndici(children, `http://${other.address}`, backlog);
    const undiciPerSecond = await untilTaken(other.address);
    children.killAll();
    samples.push({ round, taskgatePerSecond, undiciPerSecond, ratio: taskgatePerSecond / undiciPerSecond });
  }
  const ratio = spreadOf(samples.map((sample) => sample.ratio));
  const isKept = ratio.median >= minRatio;
  return {
    text: [
      `taskgate  ${formatSpread(spreadOf(samples.map((sample) => sample.taskgatePerSecond)))} deliveries/s`,
      `undici    ${formatSpread(spreadOf(samples.map((sample) => sample.undiciPerSecond)))} requests/s`,
      `ratio     ${formatSpread(ratio, 2)}`,
      `target: a ratio of at least ${minRatio}: ${isKept ? "kept" : "MISSED"}`,
    ].join("\n"),
    data: { minRatio, ratio, samples },
  };
}

async function untilTaken(address: string): Promise<number> {
  const endMs = performance.now() + timeLimitMs;
  while (performance.now() < endMs) {
    const { count, elapsedMs } = await readTaken(address);
    if (count >= backlog) {
      return (count * 1000) / elapsedMs;
    }
    await delay(200);
  }
  throw new Error(`the backlog was not taken within ${timeLimitMs} ms`);
}
