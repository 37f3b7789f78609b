import type { LoadProcess } from "./load-process.ts";
import { readUsage } from "./process-usage.ts";
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
export interface ThroughputSample {
  round: number;
  contender: string;
  calls: number;
  elapsedMs: number;
  callsPerSecond: number;
  serverCpuUsPerCall: number;
  /** Share of one processor. */
  serverShare: number;
  /** Share of one processor. */
  clientShare: number;
  /** The client may have been what was slow: as a throughput the sample says nothing. */
  isClientBound: boolean;
  /** Of the server, after the round. */
  rssMiB: number;
  /** Undefined: it delivers nothing. */
  delivery: DeliverySample | undefined;
}

/** What became of the calls meanwhile. */
export interface DeliverySample {
  /** Calls that were answered and not delivered, when the round began and when it ended. */
  backlogBefore: number;
  backlogAfter: number;
  /** Of the calls of the round or before. A backlog that grows shows in this figure. */
  deliveredPerSecond: number;
}

/**
 * Measures how many calls each server answers: after a warm-up of each, in rounds
 * in which all take their turn, so that what else happens on the machine meets all.
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
  const serverCpuMs = after.cpuMs - before.cpuMs;
  const serverShare = serverCpuMs / elapsedMs;
  const clientShare = clientCpuMs / elapsedMs;
  return {
    round,
    contender: name,
    calls,
    elapsedMs,
    callsPerSecond: (calls / elapsedMs) * 1000,
    serverCpuUsPerCall: (serverCpuMs * 1000) / calls,
    serverShare,
    clientShare,
    isClientBound: clientShare >= 0.85 && serverShare <= 0.9,
    rssMiB: after.rssMiB,
    delivery:
      deliveredBefore === undefined || deliveredAfter === undefined
        ? undefined
        : {
            backlogBefore: answeredBefore - deliveredBefore,
            backlogAfter: answeredBefore + calls - deliveredAfter,
            deliveredPerSecond: ((deliveredAfter - deliveredBefore) / elapsedMs) * 1000,
          },
  };
}
