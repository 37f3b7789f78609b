import { constants, type ServerHttp2Stream } from "node:http2";

/**
 * Ends the request with its answer: what a client sends behind it is nobody's, and must
 * neither be read nor wait. As long as the client has not ended its side, the stream
 * counts towards those that its connection may have (RFC 9113, 8.1).
 *
 * @param last what leaves last: trailers, or nothing behind the headers
 */
export function leaveBehind(stream: ServerHttp2Stream, last: "trailers" | "headers"): void {
  // Trailers leave in the next turn.
  stream.once(last === "trailers" ? "wantTrailers" : "finish", () =>
    setImmediate(() => setImmediate(endRequest, stream)),
  );
}

function endRequest(stream: ServerHttp2Stream): void {
  if (!stream.closed && !stream.destroyed && !stream.readableEnded) {
    stream.close(constants.NGHTTP2_NO_ERROR);
  }
}
