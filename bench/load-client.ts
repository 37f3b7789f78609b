import { makeCalls } from "./wire/call-connection.ts";
import { encodeHeaderBlock } from "./wire/header-block.ts";
import { prefixMessage } from "./wire/prefix-message.ts";

export interface LoadOptions {
  /** `host:port`, plain text. */
  address: string;
  /** For example `/taskgate.v1.GatewayService/GetInfo`. */
  path: string;
  /** The request's message, encoded; of several, one after the other. */
  request: Uint8Array | readonly Uint8Array[];
  /** How long calls are begun. */
  durationMs: number;
  /** How many calls are begun at most. Default: as many as fit. */
  maxCalls?: number;
  /** Default: 1. */
  connections?: number;
  /** How many calls are under way at once on each connection. Default: 64. */
  streams?: number;
}

export interface LoadResult {
  /** All of them were answered, and well. */
  calls: number;
  /** From before the connections were made until the last answer. */
  elapsedMs: number;
  /** What this process used of a processor in that time. */
  clientCpuMs: number;
}

// How long after the last call was begun the last answer may come.
const graceMs = 10_000;

/**
 * Makes the same unary gRPC call as fast as the server answers. Rejects when a
 * connection fails or a call is not answered as it should be.
 */
export async function runLoad(options: LoadOptions): Promise<LoadResult> {
  const { maxCalls = Number.POSITIVE_INFINITY, connections = 1, streams = 64 } = options;
  const { hostname: host, port } = new URL(`http://${options.address}`);
  const headers = headersOf(options);
  const bodies = [options.request].flat().map(prefixMessage);
  let next = 0;
  function nextBody(): Buffer {
    next = (next + 1) % bodies.length;
    return bodies[next] as Buffer;
  }
  const stop = new AbortController();
  const timeLimit = AbortSignal.timeout(options.durationMs + graceMs);
  const signal = AbortSignal.any([stop.signal, timeLimit]);

  const startCpu = process.cpuUsage();
  const startMs = performance.now();
  const deadlineMs = startMs + options.durationMs;
  let calls = 0;
  function wantsCall(): boolean {
    if (calls >= maxCalls || performance.now() >= deadlineMs) {
      return false;
    }
    calls += 1;
    return true;
  }
  try {
    await Promise.all(
      Array.from({ length: connections }, () =>
        makeCalls({ host, port: Number(port), headers, nextBody, streams, wantsCall, signal }),
      ),
    );
  } catch (error) {
    stop.abort();
    throw timeLimit.aborted ? new Error(`a call was not answered within ${graceMs} ms`) : error;
  }
  const cpu = process.cpuUsage(startCpu);
  return { calls, elapsedMs: performance.now() - startMs, clientCpuMs: (cpu.user + cpu.system) / 1000 };
}

// What gRPC's own clients send.
function headersOf({ address, path }: LoadOptions): Buffer {
  return encodeHeaderBlock([
    [":method", "POST"],
    [":scheme", "http"],
    [":path", path],
    [":authority", address],
    ["content-type", "application/grpc"],
    ["te", "trailers"],
    ["grpc-accept-encoding", "identity,deflate,gzip"],
    ["user-agent", "taskgate-bench"],
  ]);
}
