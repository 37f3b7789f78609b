import type { IncomingHttpHeaders } from "node:http";
import { formatJson } from "./json.ts";

/** A request that was read to its end. */
export interface HttpRequest {
  readonly method: string;
  /** As sent, without the query, still percent-encoded. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Buffer;
}

export function jsonAnswer(status: number, value: unknown, headers: Record<string, string> = {}): HttpAnswer {
  return { status, headers: { "content-type": "application/json", ...headers }, body: formatJson(value) };
}

export function textAnswer(status: number, contentType: string, body: string): HttpAnswer {
  return { status, headers: { "content-type": contentType }, body };
}

export function emptyAnswer(status: number, headers: Record<string, string> = {}): HttpAnswer {
  return { status, headers, body: "" };
}

/** The media type of a `content-type` header in lower case, without parameters; "" when there is none. */
export function mediaType(headers: IncomingHttpHeaders): string {
  return (headers["content-type"] ?? "").replace(/;.*/s, "").trim().toLowerCase();
}

const strictUtf8 = new TextDecoder("utf-8", { fatal: true });

/** The text of a body, without a byte order mark; undefined when it is not UTF-8. */
export function decodeUtf8(body: Uint8Array): string | undefined {
  try {
    return strictUtf8.decode(body);
  } catch {
    return undefined;
  }
}
