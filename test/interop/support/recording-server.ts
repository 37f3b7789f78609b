import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import type { Stage } from "./stage.ts";

export interface RecordedRequest {
  method: string;
  /** Path and query, as sent. */
  path: string;
  headers: Record<string, string>;
  body: string;
}

/** Keeps every request, and answers as Orchestra's documentation says. */
export async function startRecordingServer(
  stage: Stage,
): Promise<{ origin: string; requests: RecordedRequest[] }> {
  const requests: RecordedRequest[] = [];
  const server = http.createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) {
      chunks.push(chunk);
    }
    const headers = Object.entries(request.headers).map(([name, value]) => [name, String(value)]);
    requests.push({
      method: request.method ?? "",
      path: request.url ?? "",
      headers: Object.fromEntries(headers),
      body: Buffer.concat(chunks).toString("utf8"),
    });
    response.writeHead(200, { "content-type": "application/json" });
    response.end('{"success":true,"message":"ok"}');
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  stage.onEnd(() => {
    server.closeAllConnections();
    server.close();
  });
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests };
}
