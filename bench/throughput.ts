import type { LoadProcess } from "./load-process.ts";
import { readUsage } from "./process-usage.ts";
import type { ServerProcess } from "./server-process.ts";

/** One of the servers that are compared. */
export interface Contender {
  name: string;
  server: ServerProcess;
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
}

/**
 * Measures how many calls each server answers: after a warm-up of each, in rounds
 * in which all take their turn, so that what else happens on the machine meets all.
 */
export async function measureThroughput(options: ThroughputOptions): Promise<ThroughputSample[]> {
  const { contenders, rounds, warmUpMs, roundMs, progress } = options;
  for (const contender of contenders) {
    progress(`warm-up: ${contender.name}`);
    await measureOnce(options, contender, 0, warmUpMs);
  }
  const samples: ThroughputSample[] = [];
  for (let round = 1; round <= rounds; round++) {
    progress(`round ${round} of ${rounds}`);
    for (const contender of contenders) {
      samples.push(await measureOnce(options, contender, round, roundMs));
    }
  }
  return samples;
}

async function measureOnce(
  { load, call }: ThroughputOptions,
  { name, server }: Contender,
  round: number,
  durationMs: number,
): Promise<ThroughputSample> {
  const before = readUsage(server.pid);
  const { calls, elapsedMs, clientCpuMs } = await load.run({ address: server.address, ...call, durationMs });
  const after = readUsage(server.pid);
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
  };
}
