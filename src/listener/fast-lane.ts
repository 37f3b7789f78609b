import { constants, Http2ServerResponse, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import { create, fromBinary, isMessage, type Message, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, type ContextValues, createServiceImplSpec } from "@connectrpc/connect";
import { compressedFlag, createAsyncIterable, type UniversalHandler } from "@connectrpc/connect/protocol";
import { compressionGzip, universalResponseToNodeResponse } from "@connectrpc/connect-node";
import type { CallHead } from "../model/access.ts";
import { pathOf, type Route } from "../model/route.ts";
import { type BodyBudget, noRoomError, stalledError } from "./body-budget.ts";
import { headKey, isHost } from "./call-head.ts";
import { cappedMs, type DeadlinePolicy, grantDeadline, grantedMs, parseGrpcTimeout } from "./deadline.ts";
import type { DescribeError } from "./describe-errors.ts";
import { answer, answerError, headBytes, type LaneCall, type LaneMethod } from "./lane-answer.ts";
import { headersOf, LaneContext } from "./lane-context.ts";
import { serveStream } from "./stream-lane.ts";

export interface FastLaneOptions {
  routes: readonly Route[];
  /** Connect's handlers by path: what is not plain is given to them. */
  handlers: ReadonlyMap<string, UniversalHandler>;
  /** Throws the error to answer with, or leaves in the values what handlers need. */
  admit: (head: CallHead, values: ContextValues) => void;
  describe: DescribeError;
  deadlines: DeadlinePolicy;
  maxMessageBytes: number;
  /** How long a message of a stream may take once some of it is there. */
  maxMessageMs: number;
  bodyBudget: BodyBudget;
  /** Is told of an error that is no `ConnectError`; the caller sees only that it is internal. */
  onUnexpectedError: (error: unknown, path: string) => void;
}

/** Serves a stream and returns true, or leaves it untouched and returns false. */
export type FastLane = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => boolean;

/**
 * Creates the fast lane: unary `application/grpc` calls and streams of frames both
 * ways over HTTP/2, served from the stream's events to the same handlers, without
 * Connect's layers of async generators, which cost more than the rest of a call. A
 * client cannot tell the difference: whatever is unusual about a call, before or
 * after its body was read, is given to Connect's own handler; a stream whose frames
 * may be compressed is, too.
 */
export function createFastLane(options: FastLaneOptions): FastLane {
  const { deadlines, maxMessageBytes, bodyBudget } = options;
  const methods = createMethods(options);
  const isKnownHost = createHostCheck();

  async function serve(call: UnaryCall, body: Buffer): Promise<void> {
    const { method, context } = call;
    const input = await readMessage(call, body, maxMessageBytes);
    if (input === undefined) {
      grantDeadline(call.headers, deadlines);
      await serveByConnect(call, body);
      return;
    }
    let output: Uint8Array;
    try {
      const { output: schema } = method.spec.method;
      const result = await method.spec.impl(input, context);
      output = toBinary(schema, isMessage(result, schema) ? result : create(schema, result));
    } catch (error) {
      fail(call, error);
      return;
    }
    await answer(call, output);
  }

  function fail(call: LaneCall, error: unknown): void {
    if (error instanceof ConnectError) {
      answerError(call, options.describe(error));
      return;
    }
    answerError(call, options.describe(new ConnectError("internal error", Code.Internal)));
    options.onUnexpectedError(error, call.method.path);
  }

  return (stream, headers) => {
    const method = methods.get(headers[":path"] ?? "");
    const askedMs = parseGrpcTimeout(single(headers["grpc-timeout"]));
    const host = headers[":authority"] ?? headers.host;
    if (method === undefined || askedMs === "invalid" || !isPlain(headers) || !isKnownHost(host)) {
      return false;
    }
    const { spec } = method;
    if (spec.kind === "bidi_streaming" && (headers["grpc-encoding"] ?? "identity") !== "identity") {
      return false;
    }
    const timeoutMs = spec.kind === "unary" ? grantedMs(askedMs, deadlines) : cappedMs(askedMs);
    const context = new LaneContext(spec.method, headers, timeoutMs);
    const call = { stream, headers, method, context };
    // What there is to say of a broken stream is said by its end.
    stream.on("error", () => undefined);
    stream.once("close", () => context.leave());
    try {
      const { origin, authorization } = headers;
      const head = { path: method.path, host: host ?? "", origin, authorization };
      context.values.set(headKey, head);
      options.admit(head, context.values);
    } catch (error) {
      fail(call, error);
      return true;
    }
    if (!isUnary(call)) {
      serveStream(call, options, (error) => fail(call, error));
      return true;
    }
    const reading = readBody(stream, maxMessageBytes, bodyBudget, (body) => {
      if (body === undefined) {
        fail(call, noRoomError());
        return;
      }
      serve(call, body).catch((error) => {
        options.onUnexpectedError(error, method.path);
        stream.close(constants.NGHTTP2_INTERNAL_ERROR);
      });
    });
    context.signal.addEventListener("abort", () => {
      if (reading.stop()) {
        fail(call, stalledError());
      }
    });
    return true;
  };
}

type UnaryCall = LaneCall & { method: { spec: { kind: "unary" } } };

function isUnary(call: LaneCall): call is UnaryCall {
  return call.method.spec.kind === "unary";
}

// The authorities that clients use are few, and reading one as a URL costs more
// than the rest of what is asked of a head.
function createHostCheck(): (host: string | undefined) => boolean {
  const known = new Set<string>();
  return (host) => {
    if (host !== undefined && known.has(host)) {
      return true;
    }
    if (host === undefined || !isHost(host)) {
      return false;
    }
    if (known.size < 100) {
      known.add(host);
    }
    return true;
  };
}

function createMethods({ routes, handlers }: FastLaneOptions): ReadonlyMap<string, LaneMethod> {
  const methods = new Map<string, LaneMethod>();
  for (const { service, implementation } of routes) {
    for (const spec of Object.values(createServiceImplSpec(service, implementation).methods)) {
      const path = pathOf(service, spec.method.name);
      const handler = handlers.get(path);
      if ((spec.kind === "unary" || spec.kind === "bidi_streaming") && handler !== undefined) {
        methods.set(path, { path, spec, handler });
      }
    }
  }
  return methods;
}

function isPlain(headers: IncomingHttpHeaders): boolean {
  const type = headers["content-type"];
  const encoding = headers["grpc-encoding"];
  return (
    headers[":method"] === "POST" &&
    (type === "application/grpc" || type === "application/grpc+proto") &&
    (encoding === undefined || encoding === "identity" || encoding === "gzip")
  );
}

// Reads a body until its end, or until it is longer than any that is plain;
// undefined: there was no room for it.
function readBody(
  stream: ServerHttp2Stream,
  maxMessageBytes: number,
  budget: BodyBudget,
  done: (body: Buffer | undefined) => void,
): { stop: () => boolean } {
  let isReading = true;
  const chunks: Buffer[] = [];
  let size = 0;
  let expected = headBytes;
  // False: it had ended before.
  function stop(): boolean {
    const wasReading = isReading;
    if (isReading) {
      isReading = false;
      stream.off("data", onData);
      stream.off("end", finish);
      stream.off("close", stop);
      budget.give(size);
    }
    return wasReading;
  }
  function finish(): void {
    if (stop()) {
      done(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks));
    }
  }
  function onData(chunk: Buffer): void {
    if (!budget.take(chunk.length)) {
      stop();
      done(undefined);
      return;
    }
    chunks.push(chunk);
    size += chunk.length;
    if (expected === headBytes && size >= headBytes) {
      const head = chunks.length === 1 ? chunk : Buffer.concat(chunks);
      expected += head.readUInt32BE(1);
    }
    if (size > expected || expected > maxMessageBytes + headBytes) {
      stream.pause();
      finish();
    }
  }
  stream.on("data", onData);
  stream.once("end", finish);
  stream.once("close", stop);
  return { stop };
}

// Undefined: not one whole message that can be read.
async function readMessage(
  { headers, method }: LaneCall,
  body: Buffer,
  maxMessageBytes: number,
): Promise<Message | undefined> {
  if (body.length < headBytes || body.length !== headBytes + body.readUInt32BE(1)) {
    return undefined;
  }
  const flags = body[0];
  try {
    let bytes: Uint8Array = body.subarray(headBytes);
    if (flags === compressedFlag && headers["grpc-encoding"] === "gzip") {
      bytes = await compressionGzip.decompress(bytes, maxMessageBytes);
    } else if (flags !== 0) {
      return undefined;
    }
    return fromBinary(method.spec.method.input, bytes);
  } catch {
    return undefined;
  }
}

async function serveByConnect({ stream, headers, method, context }: LaneCall, body: Buffer): Promise<void> {
  context.release();
  const response = new Http2ServerResponse(stream);
  const abort = new AbortController();
  stream.once("close", () => abort.abort());
  await universalResponseToNodeResponse(
    await method.handler({
      httpVersion: "2.0",
      method: "POST",
      url: context.url,
      header: headersOf(headers),
      body: createAsyncIterable([body]),
      signal: abort.signal,
      contextValues: context.values,
    }),
    response,
  ).catch(() => undefined);
}

function single(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}
