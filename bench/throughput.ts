import { setTimeout as delay } from "node:timers/promises";
import type { LoadProcess } from "./load-process.ts";
import { readUsage } from "./process-usage.ts";
import { type RateSample, rateSampleOf } from "./rate-sample.ts";
import type { ServerProcess } from "./server-process.ts";

/** One of the servers that are compared. */
export interface Contender {
  name: string;
  server: ServerProcess;
  /** Of one that delivers what it answers for: how many calls were delivered so far. */
  countDelivered?: () => Promise<number>;
}

export interface ThroughputOptions {
  contenders: readonly Contender[];
  /** The call that all of them answer. */
  call: { path: string; request: Uint8Array | readonly Uint8Array[] };
  load: LoadProcess;
  rounds: number;
  warmUpMs: number;
  roundMs: number;
  /** Is told of each round. */
  progress: (text: string) => void;
}

/** What one server did in one round. */
export interface ThroughputSample extends RateSample {
  calls: number;
  elapsedMs: number;
  /** Where the calls are delivered: until the last of them was. */
  serverCpuUsPerCall: number;
  /** Of the server, after the round. */
  rssMiB: number;
  /** Undefined: it delivers nothing. */
  delivery: DeliverySample | undefined;
}

/** What became of the calls meanwhile. */
export interface DeliverySample {
  /** Calls that were answered and not delivered when the round ended. */
  backlog: number;
  /** In the round, not while the backlog left after it. */
  deliveredPerSecond: number;
}

const deliveryLimitMs = 120_000;

/**
 * Measures how many calls each server answers: after a warm-up of each, in rounds
 * in which all take their turn, so that what else happens on the machine meets all.
 * The next begins when what the last has answered is delivered.
 */
export async function measureThroughput(options: ThroughputOptions): Promise<ThroughputSample[]> {
  const { contenders, rounds, warmUpMs, roundMs, progress } = options;
  const answered = new Map<string, number>();
  for (const contender of contenders) {
    progress(`warm-up: ${contender.name}`);
    await measureOnce(options, contender, answered, 0, warmUpMs);
  }
  const samples: ThroughputSample[] = [];
  for (let round = 1; round <= rounds; round++) {
    progress(`round ${round} of ${rounds}`);
    for (const contender of contenders) {
      samples.push(await measureOnce(options, contender, answered, round, roundMs));
    }
  }
  return samples;
}

async function measureOnce(
  { load, call }: ThroughputOptions,
  { name, server, countDelivered }: Contender,
  answered: Map<string, number>,
  round: number,
  durationMs: number,
): Promise<ThroughputSample> {
  const answeredBefore = answered.get(name) ?? 0;
  const deliveredBefore = await countDelivered?.();
  const before = readUsage(server.pid);
  const { calls, elapsedMs, clientCpuMs } = await load.run({ address: server.address, ...call, durationMs });
  const after = readUsage(server.pid);
  const deliveredAfter = await countDelivered?.();
  answered.set(name, answeredBefore + calls);
  if (countDelivered !== undefined) {
    await untilDelivered(name, countDelivered, answeredBefore + calls);
  }
  const serverCpuMs = after.cpuMs - before.cpuMs;
  // What was answered and is delivered later costs as much: a call is over when it has left.
  const wholeCpuMs = countDelivered === undefined ? serverCpuMs : readUsage(server.pid).cpuMs - before.cpuMs;
  return {
    ...rateSampleOf(round, name, { calls, elapsedMs, serverCpuMs, clientCpuMs }),
    serverCpuUsPerCall: (wholeCpuMs * 1000) / calls,
    calls,
    elapsedMs,
    rssMiB: after.rssMiB,
    delivery:
      deliveredBefore === undefined || deliveredAfter === undefined
        ? undefined
        : {
            backlog: answeredBefore + calls - deliveredAfter,
            deliveredPerSecond: ((deliveredAfter - deliveredBefore) / elapsedMs) * 1000,
          },
  };
}

async function untilDelivered(
  name: string,
  countDelivered: () => Promise<number>,
  wanted: number,
): Promise<void> {
  const endMs = performance.now() + deliveryLimitMs;
  while ((await countDelivered()) < wanted) {
    if (performance.now() > endMs) {
      throw new Error(`${name} has not delivered ${wanted} calls within ${deliveryLimitMs} ms`);
    }
    await delay(50);
  }
}
