import http from "node:http";
import net, { type AddressInfo } from "node:net";
import { onTestFinished } from "vitest";

/** One request as a scripted upstream got it. */
export interface SeenRequest {
  method: string;
  url: string;
  headers: http.IncomingHttpHeaders;
  body: string;
}

export interface ScriptedServer {
  origin: string;
  /** All requests so far, in the order of their ends. */
  seen: SeenRequest[];
}

/** What a scripted upstream does with a request that has arrived whole. */
export type Script = (
  request: SeenRequest,
  response: http.ServerResponse,
  index: number,
) => void | Promise<void>;

/**
 * Starts an HTTP server on a free port that does what the script says, for the
 * running test. It ends with the test, and so do its connections.
 */
export async function useScriptedServer(script: Script): Promise<ScriptedServer> {
  const seen: SeenRequest[] = [];
  const server = http.createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => {
      const entry = {
        method: request.method ?? "",
        url: request.url ?? "",
        headers: request.headers,
        body: Buffer.concat(chunks).toString("utf8"),
      };
      seen.push(entry);
      void script(entry, response, seen.length - 1);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(
    () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  );
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen };
}

/** A script that always gives the same answer. */
export function answering(
  status: number,
  body = "",
  headers: http.OutgoingHttpHeaders = { "content-type": "application/json" },
): Script {
  return (_, response) => {
    response.writeHead(status, headers);
    response.end(body);
  };
}

/** An address on which nobody listens. */
export async function unusedOrigin(): Promise<string> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return `http://127.0.0.1:${port}`;
}
