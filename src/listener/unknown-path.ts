import { Code } from "@connectrpc/connect";
import { answerText, type NodeRequest, type NodeResponse } from "./node-http.ts";

/**
 * Answers a request to a path that is no RPC, in the words of the protocol it
 * came in: a gRPC client reads a status, a Connect client JSON, a person text.
 */
export function answerUnknownPath(request: NodeRequest, response: NodeResponse): void {
  const type = request.headers["content-type"] ?? "";
  const message = "unknown service or method";
  // What is still being sent is not read.
  request.resume();
  if (/^application\/grpc(-web)?\b/.test(type)) {
    response.setHeader("content-type", type);
    response.setHeader("grpc-status", String(Code.Unimplemented));
    response.setHeader("grpc-message", encodeURIComponent(message));
    response.setHeader("taskgate-reason", "NOT_IMPLEMENTED");
    response.end();
  } else if (/^application\/(json|proto|connect\+(json|proto))\b/.test(type)) {
    response.statusCode = 404;
    response.setHeader("content-type", "application/json");
    response.setHeader("taskgate-reason", "NOT_IMPLEMENTED");
    response.end(JSON.stringify({ code: "unimplemented", message }));
  } else {
    answerText(response, 404, "taskgate serves gRPC, gRPC-Web and Connect here, and no pages.\n");
  }
}
