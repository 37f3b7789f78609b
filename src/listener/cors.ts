import { cors } from "@connectrpc/connect";
import type { NodeRequest, NodeResponse } from "./node-http.ts";

const requestHeaders = [...cors.allowedHeaders, "authorization"].join(", ");
const responseHeaders = [...cors.exposedHeaders, "taskgate-reason"].join(", ");

/**
 * Answers a browser's questions about calls from other origins, by allow-list.
 * Returns true when the request was a preflight and is answered. An origin that
 * is not allowed gets no permission, and admission refuses its calls.
 */
export function applyCors(
  request: NodeRequest,
  response: NodeResponse,
  allowedOrigins: readonly string[],
): boolean {
  const origin = request.headers.origin;
  if (origin === undefined) {
    return false;
  }
  const isPreflight =
    request.method === "OPTIONS" && request.headers["access-control-request-method"] !== undefined;
  if (allowedOrigins.includes(origin)) {
    response.setHeader("access-control-allow-origin", origin);
    response.setHeader("access-control-expose-headers", responseHeaders);
    response.setHeader("vary", "origin");
    if (isPreflight) {
      response.setHeader("access-control-allow-methods", cors.allowedMethods.join(", "));
      response.setHeader("access-control-allow-headers", requestHeaders);
      response.setHeader("access-control-max-age", "7200");
    }
  }
  if (isPreflight) {
    response.statusCode = allowedOrigins.includes(origin) ? 204 : 403;
    response.end();
  }
  return isPreflight;
}
