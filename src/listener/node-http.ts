import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";

/** A request of either HTTP version. */
export type NodeRequest = IncomingMessage | Http2ServerRequest;

/** The response to a request of either HTTP version. */
export type NodeResponse = ServerResponse | Http2ServerResponse;

/** Answers a request with a text, for whoever speaks no RPC protocol. */
export function answerText(response: NodeResponse, status: number, text: string): void {
  response.statusCode = status;
  response.setHeader("content-type", "text/plain; charset=utf-8");
  response.end(text);
}
