import type { IncomingMessage, ServerResponse } from "node:http";
import type { Clock } from "./clock.ts";
import type { HttpAnswer, HttpRequest } from "./http-message.ts";

/** One request and what is to be sent for it. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly clock: Clock;
  /** Resolves when the response was sent or the connection is gone, whichever comes first. */
  readonly over: Promise<void>;
  isOver(): boolean;
}

export function openExchange(request: IncomingMessage, response: ServerResponse, clock: Clock): Exchange {
  let ended = false;
  const over = new Promise<void>((resolve) => {
    const end = () => {
      ended = true;
      resolve();
    };
    response.once("finish", end).once("close", end);
  });
  // A client may leave at any time: that is no fault of the sandbox.
  request.on("error", () => {});
  response.on("error", () => {});
  return { request, response, clock, over, isOver: () => ended };
}

/** Reads to the end, keeping a little more than `maxBytes` at most, so that too much can be told. */
export async function readBody(
  request: IncomingMessage,
  maxBytes: number,
): Promise<{ bytes: Buffer; complete: boolean }> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      if (size <= maxBytes) {
        chunks.push(chunk);
      }
      size += chunk.length;
    }
  } catch {
    return { bytes: Buffer.concat(chunks), complete: false };
  }
  return { bytes: Buffer.concat(chunks), complete: request.complete };
}

export function splitTarget(request: IncomingMessage): { path: string; query: string } {
  const target = request.url ?? "/";
  const mark = target.indexOf("?");
  return mark < 0
    ? { path: target, query: "" }
    : { path: target.slice(0, mark), query: target.slice(mark + 1) };
}

export function httpRequest(request: IncomingMessage, body: Buffer): HttpRequest {
  const { path, query } = splitTarget(request);
  const { method = "", headers } = request;
  return { method, path, query: new URLSearchParams(query), headers, body };
}

/** Sends an answer in good order. */
export async function sendAnswer({ response, over }: Exchange, answer: HttpAnswer): Promise<void> {
  writeHead(response, answer);
  response.end(answer.body);
  await over;
}

/** Sends an answer; null when the client had left before it. */
export async function answerWith(exchange: Exchange, answer: HttpAnswer): Promise<number | null> {
  if (exchange.isOver()) {
    return null;
  }
  await sendAnswer(exchange, answer);
  return answer.status;
}

export function writeHead(response: ServerResponse, answer: HttpAnswer): void {
  // Node would announce its keep-alive time, which these upstreams do not, and which spares clients a race.
  if (response.shouldKeepAlive) {
    response.removeHeader("connection");
  }
  const headers: Record<string, string | number> = { ...answer.headers };
  if (answer.status !== 204) {
    headers["content-length"] = Buffer.byteLength(answer.body);
  }
  response.writeHead(answer.status, headers);
}
