import * as grpc from "@grpc/grpc-js";
import { Pool } from "undici";
import { measureLatencies } from "./measure-latencies.ts";
import { updatePost } from "./update-post.ts";

/** Which calls are made, and how. */
export interface LatencyOptions {
  /** A gRPC call, or a POST of the same report. */
  kind: "grpc" | "post";
  /** `host:port`. */
  address: string;
  /** Of the gRPC method. */
  path: string;
  /** Encoded; one after the other. */
  requests: readonly Uint8Array[];
  /** So many a second whether they are answered or not; undefined: one after the other. */
  perSecond: number | undefined;
  calls: number;
}

// A client as its users write it: grpc-js, or undici. Each message asks for calls, and
// is answered with how long each of them took, in milliseconds.
process.on("message", async (options: LatencyOptions) => {
  const caller = options.kind === "grpc" ? createGrpcCaller(options) : createPoster(options);
  try {
    process.send?.({ latenciesMs: await measureLatencies({ ...options, call: caller.call }) });
  } catch (error) {
    process.send?.({ error: error instanceof Error ? error.message : String(error) });
  } finally {
    await caller.close();
  }
});
process.once("disconnect", () => process.exit());

interface Caller {
  call: (index: number) => Promise<void>;
  close: () => unknown;
}

function createGrpcCaller({ address, path, requests }: LatencyOptions): Caller {
  const client = new grpc.Client(address, grpc.credentials.createInsecure());
  return {
    call: (index) =>
      new Promise((resolve, reject) => {
        const request = requests[index % requests.length];
        client.makeUnaryRequest(
          path,
          (bytes: Uint8Array) => Buffer.from(bytes),
          (bytes) => bytes,
          request ?? new Uint8Array(),
          { deadline: Date.now() + 30_000 },
          (error) => (error === null ? resolve() : reject(error)),
        );
      }),
    close: () => client.close(),
  };
}

function createPoster({ address }: LatencyOptions): Caller {
  const pool = new Pool(`http://${address}`, { connections: 64, pipelining: 1 });
  return {
    async call() {
      const answer = await pool.request(updatePost);
      await answer.body.dump();
    },
    close: () => pool.close(),
  };
}
