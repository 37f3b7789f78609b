import type { ConnectError } from "@connectrpc/connect";
import { errorToJsonBytes } from "@connectrpc/connect/protocol-connect";
import { setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { leaveBehind } from "./leave-behind.ts";
import { answerText, type NodeRequest, type NodeResponse } from "./node-http.ts";

/**
 * Answers a request to a path that is no RPC with the error, in the words of the
 * protocol it came in: a gRPC client reads a status, a Connect client JSON, a
 * person text.
 */
export function answerUnknownPath(request: NodeRequest, response: NodeResponse, error: ConnectError): void {
  const type = request.headers["content-type"] ?? "";
  if (/^application\/grpc(-web)?\b/.test(type)) {
    const trailer = new Headers();
    setTrailerStatus(trailer, error);
    setHeaders(response, trailer);
    response.setHeader("content-type", type);
    if ("stream" in response) {
      leaveBehind(response.stream, "headers");
    }
    response.end();
  } else if (/^application\/(json|proto|connect\+(json|proto))\b/.test(type)) {
    response.statusCode = 404;
    setHeaders(response, error.metadata);
    response.setHeader("content-type", "application/json");
    response.end(errorToJsonBytes(error, undefined));
  } else {
    answerText(response, 404, "taskgate serves gRPC, gRPC-Web and Connect here, and no pages.\n");
  }
}

function setHeaders(response: NodeResponse, headers: Headers): void {
  for (const [name, value] of headers) {
    response.setHeader(name, value);
  }
}
