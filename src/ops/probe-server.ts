import http from "node:http";
import type { Socket } from "node:net";
import type { TcpAddress } from "../model/listen-address.ts";
import type { MetricText } from "./metric-text.ts";

export interface ProbeServerOptions {
  address: TcpAddress;
  /** The gateway listens and has opened what it stores. */
  isStarted: () => boolean;
  /** The gateway takes calls. Never depends on an upstream. */
  isReady: () => boolean;
  /** What `/metrics` says, in the format that `Accept` prefers. Default: there is no such path. */
  metrics?: ((accept: string | undefined) => Promise<MetricText>) | undefined;
  /** Is told why the metrics could not be collected. */
  onUnexpectedError?: (error: unknown) => void;
  /** How long a request's head may take, and its body; and how long nobody may read an answer. */
  timeoutMs: number;
  maxHeaderBytes: number;
  places: ProbePlaces;
}

/** Places for connections: a probe must find one, however many others say nothing. */
export interface ProbePlaces {
  /** Takes one until the connection is closed, or says why there is none. */
  take(socket: Socket): string | undefined;
  /** The connection asks something, and keeps its place. */
  keep(socket: Socket): void;
}

/** The port for probes. */
export interface ProbeServer {
  /** The address, with the port that was chosen where 0 was asked for. */
  address: TcpAddress;
  close(): Promise<void>;
}

/**
 * Serves `/startupz`, `/livez` and `/readyz` over plain HTTP/1.1: 200 `ok`, or
 * 503 with the reason. `/livez` says 200 whenever it can say anything. Beside them
 * `/metrics`, where there are any.
 */
export async function serveProbes(options: ProbeServerOptions): Promise<ProbeServer> {
  const { metrics, timeoutMs, places } = options;
  const probes = new Map<string, (request: http.IncomingMessage) => Answer | Promise<Answer>>([
    ["/startupz", () => probeAnswer(options.isStarted(), "starting")],
    ["/livez", () => probeAnswer(true, "")],
    ["/readyz", () => probeAnswer(options.isReady(), "not ready")],
  ]);
  if (metrics !== undefined) {
    probes.set("/metrics", async ({ headers }) => ({ status: 200, ...(await metrics(headers.accept)) }));
  }
  const server = http.createServer(
    {
      headersTimeout: timeoutMs,
      requestTimeout: timeoutMs,
      connectionsCheckingInterval: Math.min(1000, Math.ceil(timeoutMs / 2)),
      keepAliveTimeout: 5000,
      maxHeaderSize: options.maxHeaderBytes,
    },
    async (request, response) => {
      places.keep(request.socket);
      const probe = probes.get(request.url?.split("?", 1)[0] ?? "");
      request.resume();
      if (probe === undefined) {
        send(response, textAnswer(404, "not found"));
      } else if (request.method !== "GET" && request.method !== "HEAD") {
        send(response, textAnswer(405, "only GET and HEAD"));
      } else {
        try {
          send(response, await probe(request));
        } catch (error) {
          options.onUnexpectedError?.(error);
          send(response, textAnswer(500, "it failed; the log says why"));
        }
      }
    },
  );
  server.timeout = timeoutMs;
  server.prependListener("connection", (socket) => {
    if (places.take(socket) !== undefined) {
      socket.destroy();
    }
  });
  const { address } = options;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host: address.host, port: address.port }, () => {
      server.off("error", reject);
      resolve();
    });
  });
  const bound = server.address();
  return {
    address: typeof bound === "object" && bound !== null ? { ...address, port: bound.port } : address,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

interface Answer {
  status: number;
  contentType: string;
  body: string;
}

function probeAnswer(isOk: boolean, problem: string): Answer {
  return isOk ? textAnswer(200, "ok") : textAnswer(503, problem);
}

function textAnswer(status: number, text: string): Answer {
  return { status, contentType: "text/plain; charset=utf-8", body: `${text}\n` };
}

function send(response: http.ServerResponse, { status, contentType, body }: Answer): void {
  response.writeHead(status, { "content-type": contentType });
  response.end(body);
}
