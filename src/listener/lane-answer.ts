import type { IncomingHttpHeaders, OutgoingHttpHeaders, ServerHttp2Stream } from "node:http2";
import type { ConnectError, MethodImplSpec } from "@connectrpc/connect";
import { compressedFlag, type UniversalHandler } from "@connectrpc/connect/protocol";
import { setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { compressionGzip } from "@connectrpc/connect-node";
import type { ObservedCall } from "../model/call-observer.ts";
import { headBytes, writeHead } from "./frame-writer.ts";
import type { LaneContext } from "./lane-context.ts";
import { leaveBehind } from "./leave-behind.ts";
import type { MethodLimits } from "./method-limits.ts";

/** A method that the lane serves. */
export interface LaneMethod {
  path: string;
  spec: MethodImplSpec;
  handler: UniversalHandler;
  limits: MethodLimits;
}

/** One call on its way through the lane. */
export interface LaneCall {
  stream: ServerHttp2Stream;
  headers: IncomingHttpHeaders;
  method: LaneMethod;
  context: LaneContext;
  /** Undefined: nobody observes it. */
  observed: ObservedCall | undefined;
}

// As Connect: smaller messages are not worth it.
const compressMinBytes = 1024;

/** Answers a unary call with a message in its plain envelope. */
export async function answer(call: LaneCall, plain: Buffer): Promise<void> {
  const { stream, context } = call;
  const frame = isForCompression(call, plain) ? await compressedFrameOf(plain) : plain;
  context.release();
  if (stream.closed || stream.destroyed) {
    return;
  }
  begin(call);
  finish(call, nodeHeaders(context.setTrailer));
  stream.end(frame);
  call.observed?.end(0);
}

/** Says whether a message, in its plain envelope, is to be compressed for the caller. */
export function isForCompression({ headers }: LaneCall, plain: Buffer): boolean {
  return plain.length >= headBytes + compressMinBytes && acceptsGzip(headers);
}

/** A message in its plain envelope as a compressed one. */
export async function compressedFrameOf(plain: Buffer): Promise<Buffer> {
  const bytes = await compressionGzip.compress(plain.subarray(headBytes));
  const frame = Buffer.allocUnsafe(headBytes + bytes.length);
  writeHead(frame, compressedFlag);
  frame.set(bytes, headBytes);
  return frame;
}

/** Sends the headers of an answer. */
export function begin({ stream, headers, context }: LaneCall): void {
  stream.respond(responseHeaders(context, acceptsGzip(headers)), { waitForTrailers: true });
}

/** Says how the answer ends, once all of it was sent. */
export function finish({ stream }: Pick<LaneCall, "stream">, trailers: OutgoingHttpHeaders): void {
  stream.once("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0", ...trailers }));
}

/** Answers with an error: behind what was sent, or instead of it. */
export function answerError(call: LaneCall, error: ConnectError): void {
  const { stream, headers, context } = call;
  context.release();
  if (stream.closed || stream.destroyed) {
    return;
  }
  const trailers = nodeHeaders(setTrailerStatus(new Headers(context.setTrailer), error));
  const isBehind = stream.headersSent || context.setHeader !== undefined;
  if (!stream.readableEnded) {
    leaveBehind(stream, isBehind ? "trailers" : "headers");
    // So that an end that is there is seen.
    stream.resume();
  }
  if (isBehind) {
    if (!stream.headersSent) {
      begin(call);
    }
    finish(call, trailers);
    stream.end();
  } else {
    stream.respond({ ...responseHeaders(context, acceptsGzip(headers)), ...trailers }, { endStream: true });
  }
  call.observed?.end(error.code);
}

function responseHeaders(context: LaneContext, isGzip: boolean): OutgoingHttpHeaders {
  return {
    ...nodeHeaders(context.setHeader),
    ":status": 200,
    "content-type": "application/grpc+proto",
    ...(isGzip ? { "grpc-encoding": "gzip" } : {}),
  };
}

// As Connect: the first coding that is known wins, and a request's own coding
// counts where the caller says nothing. A caller who prefers another coding than
// gzip gets none.
function acceptsGzip(headers: IncomingHttpHeaders): boolean {
  const accepted = headers["grpc-accept-encoding"];
  return accepted === undefined ? headers["grpc-encoding"] === "gzip" : /\bgzip\b/.test(String(accepted));
}

/** Reads the web's headers into Node's. */
export function nodeHeaders(headers: Headers | undefined): OutgoingHttpHeaders {
  return headers === undefined ? {} : Object.fromEntries(headers);
}
