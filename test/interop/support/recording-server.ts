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

export interface RecordingServer {
  origin: string;
  /** All that came, in this order. */
  requests: readonly RecordedRequest[];
}

/** What a request is answered; `silence` never is. */
export type ScriptedAnswer = { status: number; headers?: Record<string, string>; body?: string } | "silence";

/** Keeps every request, and answers as Orchestra's documentation says, or as it is told. */
export async function startRecordingServer(
  stage: Stage,
  answer: (request: RecordedRequest) => ScriptedAnswer = () => accepted,
): Promise<RecordingServer> {
  const requests: RecordedRequest[] = [];
  const server = http.createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) {
      chunks.push(chunk);
    }
    const headers = Object.entries(request.headers).map(([name, value]) => [name, String(value)]);
    const recorded: RecordedRequest = {
      method: request.method ?? "",
      path: request.url ?? "",
      headers: Object.fromEntries(headers),
      body: Buffer.concat(chunks).toString("utf8"),
    };
    requests.push(recorded);
    const said = answer(recorded);
    if (said !== "silence") {
      response.writeHead(said.status, { "content-type": "application/json", ...said.headers });
      response.end(said.body ?? "");
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  stage.onEnd(() => {
    server.closeAllConnections();
    server.close();
  });
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests };
}

const accepted: ScriptedAnswer = { status: 200, body: '{"success":true,"message":"ok"}' };
