import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";

/** A request of either HTTP version. */
export type NodeRequest = IncomingMessage | Http2ServerRequest;

/** The response to a request of either HTTP version. */
export type NodeResponse = ServerResponse | Http2ServerResponse;

/**
 * Calls `run` once the response is over: sent, or left by its peer. Over HTTP/1.1 a
 * response that waits behind another one hears nothing when the connection ends.
 */
export function onceOver(request: NodeRequest, response: NodeResponse, run: () => void): void {
  if ("stream" in response) {
    response.once("close", run);
    return;
  }
  const { socket } = request;
  // As many as a client sends ahead of their answers.
  socket.setMaxListeners(0);
  let isOver = false;
  function over(): void {
    response.off("close", over);
    socket.off("close", over);
    // The end of the connection may be what ends the response, before it is heard here.
    if (!isOver) {
      isOver = true;
      run();
    }
  }
  response.once("close", over);
  socket.once("close", over);
}

/** Answers a request with a text, for whoever speaks no RPC protocol. */
export function answerText(response: NodeResponse, status: number, text: string): void {
  response.statusCode = status;
  response.setHeader("content-type", "text/plain; charset=utf-8");
  response.end(text);
}
