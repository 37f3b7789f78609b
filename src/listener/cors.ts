import { cors } from "@connectrpc/connect";
import type { NodeRequest, NodeResponse } from "./node-http.ts";

const requestHeaders = [...cors.allowedHeaders, "authorization", "traceparent", "tracestate"].join(", ");
const responseHeaders = [...cors.exposedHeaders, "taskgate-reason"].join(", ");

/**
 * Answers a browser's questions about calls from other origins, by allow-list. Cookies
 * and the like are never asked for: who calls is said by a token in a header.
 * Returns true when the request was a preflight and is answered. An origin that
 * is not allowed gets no permission, so that a browser neither lets its pages send a
 * token nor shows them an answer. Without tokens admission refuses its calls as well.
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
  // A cache must not give one page's answer to another.
  response.setHeader("vary", "origin");
  const isPreflight =
    request.method === "OPTIONS" && request.headers["access-control-request-method"] !== undefined;
  if (allowedOrigins.includes(origin)) {
    response.setHeader("access-control-allow-origin", origin);
    response.setHeader("access-control-expose-headers", responseHeaders);
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
