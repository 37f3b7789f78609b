/** How fast one contender was in one round, and who was busy meanwhile. */
export interface RateSample {
  round: number;
  contender: string;
  callsPerSecond: number;
  serverCpuUsPerCall: number;
  /** Share of one processor. */
  serverShare: number;
  /** Of all that runs where the clients do: share of one processor. */
  clientShare: number;
  /** The client may have been what was slow: as a throughput the sample says nothing. */
  isClientBound: boolean;
}

/** What was done, and what both sides used of a processor for it. */
export interface Work {
  calls: number;
  elapsedMs: number;
  serverCpuMs: number;
  clientCpuMs: number;
}

/** Makes a sample of what was done. */
export function rateSampleOf(
  round: number,
  contender: string,
  { calls, elapsedMs, serverCpuMs, clientCpuMs }: Work,
): RateSample {
  const serverShare = serverCpuMs / elapsedMs;
  const clientShare = clientCpuMs / elapsedMs;
  return {
    round,
    contender,
    callsPerSecond: (calls / elapsedMs) * 1000,
    serverCpuUsPerCall: (serverCpuMs * 1000) / calls,
    serverShare,
    clientShare,
    isClientBound: clientShare >= 0.85 && serverShare <= 0.9,
  };
}
