import { leaveBehind } from "./leave-behind.ts";
import type { NodeRequest, NodeResponse } from "./node-http.ts";

/** How long the rest of a body may take to come of which nobody reads any more. */
export const maxDiscardMs = 30_000;

/**
 * Reads the body of a request. Unlike with the request's own iterator, whoever stops
 * reading leaves the request as it is: over HTTP/1.1 a destroyed one takes no more bytes
 * from its connection, on which then nothing can be asked any more.
 */
export function bodyOf(request: NodeRequest): AsyncIterable<Uint8Array> {
  return { [Symbol.asyncIterator]: () => request.iterator({ destroyOnReturn: false }) };
}

/**
 * Ends what a client still sends behind the answer to its call, which is nobody's. Over
 * HTTP/2 the stream is closed, which would count towards those that its connection may
 * have (RFC 9113, 8.1). Over HTTP/1.1 the body is read to its end, or the next request on
 * the connection would never be; it has half a minute, then the connection is closed.
 */
export function endRequestBehind(request: NodeRequest, response: NodeResponse): void {
  if ("stream" in response) {
    leaveBehind(response.stream, "trailers");
    return;
  }
  response.once("finish", () => {
    if (!request.readableEnded && !request.destroyed) {
      discard(request);
    }
  });
}

function discard(request: NodeRequest): void {
  const { socket } = request;
  const timer = setTimeout(() => socket.destroy(), maxDiscardMs);
  // An iterator that nobody asks any more may still be subscribed to what is readable:
  // as long as it is, the stream cannot simply flow.
  function drop(): void {
    while (request.read() !== null) {}
  }
  request.on("readable", drop);
  request.once("close", () => clearTimeout(timer));
  drop();
}
