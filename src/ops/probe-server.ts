import http from "node:http";
import type { TcpAddress } from "../model/listen-address.ts";

export interface ProbeServerOptions {
  address: TcpAddress;
  /** The gateway listens and has opened what it stores. */
  isStarted: () => boolean;
  /** The gateway takes calls. Never depends on an upstream. */
  isReady: () => boolean;
}

/** The port for probes. */
export interface ProbeServer {
  /** The address, with the port that was chosen where 0 was asked for. */
  address: TcpAddress;
  close(): Promise<void>;
}

/**
 * Serves `/startupz`, `/livez` and `/readyz` over plain HTTP/1.1: 200 `ok`, or
 * 503 with the reason. `/livez` says 200 whenever it can say anything.
 */
export async function serveProbes(options: ProbeServerOptions): Promise<ProbeServer> {
  const probes: Record<string, () => string | undefined> = {
    "/startupz": () => (options.isStarted() ? undefined : "starting"),
    "/livez": () => undefined,
    "/readyz": () => (options.isReady() ? undefined : "not ready"),
  };
  const server = http.createServer(
    { headersTimeout: 10_000, requestTimeout: 10_000, keepAliveTimeout: 5000 },
    (request, response) => {
      const probe = probes[request.url?.split("?", 1)[0] ?? ""];
      request.resume();
      if (probe === undefined || (request.method !== "GET" && request.method !== "HEAD")) {
        const [status, text] = probe === undefined ? [404, "not found"] : [405, "only GET and HEAD"];
        answer(response, status, text);
        return;
      }
      const problem = probe();
      answer(response, problem === undefined ? 200 : 503, problem ?? "ok");
    },
  );
  server.maxConnections = 256;
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

function answer(response: http.ServerResponse, status: number, text: string): void {
  response.writeHead(status, { "content-type": "text/plain; charset=utf-8" });
  response.end(`${text}\n`);
}
