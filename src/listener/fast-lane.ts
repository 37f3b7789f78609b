import { constants, Http2ServerResponse, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import { create, fromBinary, isMessage, type Message } from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type ContextValues,
  createServiceImplSpec,
  type MethodImplSpec,
} from "@connectrpc/connect";
import {
  type Compression,
  compressedFlag,
  createAsyncIterable,
  type UniversalHandler,
} from "@connectrpc/connect/protocol";
import { universalResponseToNodeResponse } from "@connectrpc/connect-node";
import type { CallHead } from "../model/access.ts";
import type { CallObserver } from "../model/call-observer.ts";
import { pathOf, type Route } from "../model/route.ts";
import { type BodyBudget, stalledError } from "./body-budget.ts";
import { type ByteQueue, createByteQueue } from "./byte-queue.ts";
import { headKey, isHost } from "./call-head.ts";
import { type CallOutcome, codeOf, outcomeKey } from "./call-outcome.ts";
import type { CallPlaces } from "./call-places.ts";
import { cappedMs, type DeadlinePolicy, grantDeadline, grantedMs, parseGrpcTimeout } from "./deadline.ts";
import type { DescribeError } from "./describe-errors.ts";
import { createFrameWriter, headBytes } from "./frame-writer.ts";
import { answer, answerError, type LaneCall, type LaneMethod } from "./lane-answer.ts";
import { headersOf, LaneContext } from "./lane-context.ts";
import { leaveBehind } from "./leave-behind.ts";
import { methodLimitsOf } from "./method-limits.ts";
import { serveStream } from "./stream-lane.ts";

export interface FastLaneOptions {
  routes: readonly Route[];
  /** Connect's handlers by path: what is not plain is given to them. */
  handlers: ReadonlyMap<string, UniversalHandler>;
  /** Throws the error to answer with, or leaves in the values what handlers need. */
  admit: (head: CallHead, values: ContextValues) => void;
  /** Of calls that were admitted. */
  calls: CallPlaces;
  describe: DescribeError;
  deadlines: DeadlinePolicy;
  /** Of methods that are not for the public. */
  maxMessageBytes: number;
  /** How long a body may take, or a message of a stream once some of it is there. */
  maxMessageMs: number;
  bodyBudget: BodyBudget;
  /** Undefined: nobody observes calls. */
  observer?: CallObserver | undefined;
  /** Decompresses what comes. */
  gzip: Compression;
  /** Is told of an error that is no `ConnectError`; the caller sees only that it is internal. */
  onUnexpectedError: (error: unknown, path: string) => void;
}

/** Serves a stream and returns true, or leaves it untouched and returns false. */
export type FastLane = (
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  onAdmitted?: OnAdmitted,
) => boolean;

/** Is told when a call was admitted that not everybody may make. */
export type OnAdmitted = () => void;

/**
 * Creates the fast lane: `application/grpc` calls over HTTP/2, unary and streams,
 * served from the stream's events to the same handlers, without Connect's layers of
 * async generators, which cost more than the rest of a call. A client cannot tell the
 * difference: whatever is unusual about a call is given to Connect's own handler, of
 * a unary one also after its body was read.
 */
export function createFastLane(options: FastLaneOptions): FastLane {
  const { deadlines, bodyBudget, gzip } = options;
  const methods = createMethods(options);
  const isKnownHost = createHostCheck();
  const frameOf = createFrameWriter();
  const streamOptions = { ...options, frameOf };

  async function serve(call: LaneCall, spec: UnarySpec, body: Buffer): Promise<void> {
    let frame: Buffer;
    try {
      const input = await readMessage(call, body, gzip);
      if (input === undefined) {
        grantDeadline(call.headers, deadlines);
        await serveByConnect(call, body);
        return;
      }
      const { output: schema } = spec.method;
      const { context, observed } = call;
      const result = await (observed === undefined
        ? spec.impl(input, context)
        : observed.run(() => spec.impl(input, context)));
      frame = frameOf(schema, isMessage(result, schema) ? result : create(schema, result));
    } catch (error) {
      fail(call, error);
      return;
    }
    await answer(call, frame);
  }

  function fail(call: LaneCall, error: unknown): void {
    if (!(error instanceof ConnectError)) {
      options.onUnexpectedError(error, call.method.path);
    }
    // In a flood of calls that are cancelled, errors for nobody would cost most.
    if (call.stream.closed || call.stream.destroyed) {
      call.context.release();
      return;
    }
    const told = error instanceof ConnectError ? error : new ConnectError("internal error", Code.Internal);
    answerError(call, options.describe(told));
  }

  return (stream, headers, onAdmitted) => {
    const method = methods.get(headers[":path"] ?? "");
    const askedMs = parseGrpcTimeout(single(headers["grpc-timeout"]));
    const host = headers[":authority"] ?? headers.host;
    if (method === undefined || askedMs === "invalid" || !isPlain(headers) || !isKnownHost(host)) {
      return false;
    }
    const { spec, limits } = method;
    const context =
      spec.kind === "unary"
        ? new LaneContext(spec.method, headers, grantedMs(askedMs, deadlines), options.maxMessageMs)
        : new LaneContext(spec.method, headers, cappedMs(askedMs));
    const observed = options.observer?.begin(method.path, headers);
    const call = { stream, headers, method, context, observed };
    // What there is to say of a broken stream is said by its end.
    stream.on("error", ignore);
    let hasPlace = false;
    stream.once("close", () => {
      if (hasPlace) {
        options.calls.give(limits.isPublic);
      }
      context.leave();
      observed?.end(Code.Canceled);
    });
    try {
      const { origin, authorization } = headers;
      const head = { path: method.path, host: host ?? "", origin, authorization };
      context.values.set(headKey, head);
      options.admit(head, context.values);
      options.calls.take(limits.isPublic);
      hasPlace = true;
      if (!limits.isPublic) {
        onAdmitted?.();
      }
    } catch (error) {
      fail(call, error);
      return true;
    }
    if (spec.kind !== "unary") {
      serveStream(call, spec, streamOptions, (error) => fail(call, error));
      return true;
    }
    const reading = readBody(stream, limits.maxMessageBytes, bodyBudget, (body) => {
      if (body === undefined) {
        fail(call, bodyBudget.full);
        return;
      }
      serve(call, spec, body).catch((error) => {
        options.onUnexpectedError(error, method.path);
        stream.close(constants.NGHTTP2_INTERNAL_ERROR);
      });
    });
    function giveUpReading(): void {
      if (reading.stop() && !stream.destroyed) {
        fail(call, stalledError());
      }
    }
    context.onBodyTime = giveUpReading;
    context.onEnd = giveUpReading;
    return true;
  };
}

// Not made for each call: a listener keeps all that is around it for as long as its stream is kept.
function ignore(): void {}

type UnarySpec = Extract<MethodImplSpec, { kind: "unary" }>;

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

function createMethods(options: FastLaneOptions): ReadonlyMap<string, LaneMethod> {
  const methods = new Map<string, LaneMethod>();
  for (const route of options.routes) {
    const { service, implementation } = route;
    const limits = methodLimitsOf(route, options.maxMessageBytes);
    for (const spec of Object.values(createServiceImplSpec(service, implementation).methods)) {
      const path = pathOf(service, spec.method.name);
      const handler = options.handlers.get(path);
      if (handler !== undefined) {
        methods.set(path, { path, spec, handler, limits });
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
  // Most bodies are one chunk.
  let first: Buffer | undefined;
  let all: ByteQueue | undefined;
  let size = 0;
  let expected = headBytes;
  // False: it had ended before.
  function stop(): boolean {
    const wasReading = isReading;
    if (isReading) {
      isReading = false;
      stream.off("data", onData);
      stream.off("end", onEnd);
      stream.off("close", stop);
      budget.give(size);
    }
    return wasReading;
  }
  function finish(): void {
    if (stop()) {
      done(all?.take(size) ?? first ?? Buffer.alloc(0));
    }
  }
  function onEnd(): void {
    // Of a call that was cancelled this is no end: its close tells.
    if (stream.rstCode === constants.NGHTTP2_NO_ERROR) {
      finish();
    }
  }
  function onData(chunk: Buffer): void {
    if (!budget.take(chunk.length)) {
      stop();
      done(undefined);
      return;
    }
    size += chunk.length;
    if (first === undefined) {
      first = chunk;
    } else {
      if (all === undefined) {
        all = createByteQueue();
        all.add(first);
      }
      all.add(chunk);
    }
    if (expected === headBytes && size >= headBytes) {
      expected += (all?.peek(headBytes) ?? first).readUInt32BE(1);
    }
    if (size > expected || expected > maxMessageBytes + headBytes) {
      stream.pause();
      finish();
    }
  }
  stream.on("data", onData);
  stream.once("end", onEnd);
  stream.once("close", stop);
  return { stop };
}

// Undefined: not one whole message that can be read.
async function readMessage(
  { headers, method }: LaneCall,
  body: Buffer,
  gzip: Compression,
): Promise<Message | undefined> {
  const size = body.length - headBytes;
  if (size < 0 || size > method.limits.maxMessageBytes || size !== body.readUInt32BE(1)) {
    return undefined;
  }
  const flags = body[0];
  try {
    let bytes: Uint8Array = body.subarray(headBytes);
    if (flags === compressedFlag && headers["grpc-encoding"] === "gzip") {
      bytes = await gzip.decompress(bytes, method.limits.maxMessageBytes);
    } else if (flags !== 0) {
      return undefined;
    }
    return fromBinary(method.spec.method.input, bytes);
  } catch (error) {
    // Once is enough.
    if (error instanceof ConnectError && error.code === Code.ResourceExhausted) {
      throw error;
    }
    return undefined;
  }
}

async function serveByConnect(call: LaneCall, body: Buffer): Promise<void> {
  const { stream, headers, method, context, observed } = call;
  context.release();
  const outcome: CallOutcome = { code: 0 };
  context.values.set(outcomeKey, outcome);
  leaveBehind(stream, "trailers");
  stream.resume();
  const response = new Http2ServerResponse(stream);
  const abort = new AbortController();
  stream.once("close", () => abort.abort());
  // Before whoever takes it that a stream that closes was left.
  stream.prependOnceListener("close", () => observed?.end(codeOf(outcome, response)));
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
