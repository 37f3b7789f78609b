import { constants, type ServerHttp2Stream } from "node:http2";
import {
  create,
  type DescMessage,
  fromBinary,
  isMessage,
  type Message,
  type MessageInitShape,
} from "@bufbuild/protobuf";
import { Code, ConnectError, type HandlerContext, type MethodImplSpec } from "@connectrpc/connect";
import { type Compression, compressedFlag } from "@connectrpc/connect/protocol";
import { type BodyBudget, stalledError } from "./body-budget.ts";
import { createByteQueue } from "./byte-queue.ts";
import { type FrameWriter, headBytes } from "./frame-writer.ts";
import {
  begin,
  compressedFrameOf,
  finish,
  isForCompression,
  type LaneCall,
  nodeHeaders,
} from "./lane-answer.ts";
import { leaveBehind } from "./leave-behind.ts";

/** How a stream of messages is answered, one way or both. */
export type StreamSpec = Exclude<MethodImplSpec, { kind: "unary" }>;

export interface StreamOptions {
  /** Writes the answers. */
  frameOf: FrameWriter;
  /** How long a message may take once some of it is there. */
  maxMessageMs: number;
  /** Of messages that are not whole yet. */
  bodyBudget: BodyBudget;
  /** Decompresses what comes. */
  gzip: Compression;
}

/**
 * Serves a stream of messages. One message is read when the handler asks for it, and
 * the handler is asked for one when the last was written: what neither side takes
 * waits in HTTP/2's windows.
 */
export function serveStream(
  call: LaneCall,
  spec: StreamSpec,
  options: StreamOptions,
  fail: (error: unknown) => void,
): void {
  const { stream, context } = call;
  const { frameOf } = options;
  const requests = readMessages(call, spec, options);
  let isOver = false;

  function end(error?: unknown): void {
    if (isOver) {
      return;
    }
    isOver = true;
    requests.stop();
    if (stream.closed || stream.destroyed) {
      context.release();
      return;
    }
    stream.resume();
    if (error !== undefined) {
      fail(error);
    } else {
      leaveBehind(stream, "trailers");
      context.release();
      if (!stream.headersSent) {
        begin(call);
      }
      finish(call, nodeHeaders(context.setTrailer));
      stream.end();
      call.observed?.end(0);
    }
  }

  async function respond(): Promise<void> {
    const { output: schema } = spec.method;
    for await (const value of invoke(spec, requests.all, context)) {
      if (isOver) {
        break;
      }
      const plain = frameOf(schema, isMessage(value, schema) ? value : create(schema, value));
      const frame = isForCompression(call, plain) ? await compressedFrameOf(plain) : plain;
      // Its deadline may have passed meanwhile.
      if (isOver || stream.closed || stream.destroyed) {
        break;
      }
      if (!stream.headersSent) {
        begin(call);
      }
      if (!stream.write(frame)) {
        await drained(stream);
      }
    }
    end();
  }

  // Its deadline has passed, or the caller has left.
  context.signal.addEventListener("abort", () => end(context.signal.reason), { once: true });
  const responding = call.observed === undefined ? respond() : call.observed.run(respond);
  responding.catch(end);
}

function invoke(
  spec: StreamSpec,
  requests: AsyncIterable<Message>,
  context: HandlerContext,
): AsyncIterable<Answer> {
  switch (spec.kind) {
    case "server_streaming":
      return answerOne(spec, requests, context);
    case "client_streaming":
      return answerAll(spec, requests, context);
    case "bidi_streaming":
      return spec.impl(requests, context);
  }
}

type Answer = Message | MessageInitShape<DescMessage>;
type SpecOf<Kind extends StreamSpec["kind"]> = Extract<StreamSpec, { kind: Kind }>;

async function* answerOne(
  spec: SpecOf<"server_streaming">,
  requests: AsyncIterable<Message>,
  context: HandlerContext,
): AsyncGenerator<Answer> {
  const iterator = requests[Symbol.asyncIterator]();
  const { value: request, done } = await iterator.next();
  // Both in Connect's words.
  if (done === true) {
    throw new ConnectError(
      "protocol error: missing input message for server-streaming method",
      Code.Unimplemented,
    );
  }
  if ((await iterator.next()).done !== true) {
    throw new ConnectError(
      "protocol error: received extra input message for server-streaming method",
      Code.Unimplemented,
    );
  }
  yield* spec.impl(request, context);
}

async function* answerAll(
  spec: SpecOf<"client_streaming">,
  requests: AsyncIterable<Message>,
  context: HandlerContext,
): AsyncGenerator<Answer> {
  yield await spec.impl(requests, context);
}

function decode({ method }: StreamSpec, bytes: Uint8Array): Message {
  try {
    return fromBinary(method.input, bytes);
  } catch (error) {
    // In Connect's words, which have their details from elsewhere.
    throw new ConnectError(`parse binary: ${error instanceof Error ? error.message : error}`, Code.Internal);
  }
}

interface MessageReader {
  all: AsyncIterable<Message>;
  /** Reads no more: what is asked for ends. */
  stop(): void;
}

// Reads messages out of a stream as they are asked for, one at a time. The stream is
// paused when something comes for which nobody has asked: it holds no more than one
// chunk, or one message. Not before, because a pause and its end cost more than a message.
function readMessages(
  { stream, headers, method }: LaneCall,
  spec: StreamSpec,
  { maxMessageMs, bodyBudget, gzip }: StreamOptions,
): MessageReader {
  const { maxMessageBytes } = method.limits;
  const isGzip = headers["grpc-encoding"] === "gzip";
  const queue = createByteQueue();
  let isEnded = false;
  let refusal: ConnectError | undefined;
  let timer: NodeJS.Timeout | undefined;
  let asking: PromiseWithResolvers<IteratorResult<Message>> | undefined;

  // The next message; undefined: it is not there yet.
  function take(): Message | Promise<Message> | undefined {
    if (queue.size < headBytes) {
      return undefined;
    }
    const length = queue.peek(headBytes).readUInt32BE(1);
    if (length > maxMessageBytes) {
      throw new ConnectError(
        `message size ${length} is larger than configured readMaxBytes ${maxMessageBytes}`,
        Code.ResourceExhausted,
      );
    }
    if (queue.size < headBytes + length) {
      return undefined;
    }
    const envelope = queue.take(headBytes + length);
    bodyBudget.give(headBytes + length);
    clearTimeout(timer);
    timer = undefined;
    const bytes = envelope.subarray(headBytes);
    if (envelope[0] === compressedFlag && isGzip) {
      return gzip.decompress(bytes, maxMessageBytes).then((plain) => decode(spec, plain));
    }
    if (envelope[0] === compressedFlag) {
      throw new ConnectError(
        "received compressed envelope, but do not know how to decompress",
        Code.Internal,
      );
    }
    if (envelope[0] !== 0) {
      throw new ConnectError(`received an envelope with unknown flags ${envelope[0]}`, Code.Internal);
    }
    return decode(spec, bytes);
  }

  function give(): void {
    if (asking === undefined) {
      stream.pause();
      return;
    }
    const { resolve, reject } = asking;
    try {
      if (refusal !== undefined) {
        throw refusal;
      }
      const message = take();
      if (message !== undefined) {
        asking = undefined;
        // A promise only where it must be one: it costs a turn.
        resolve(message instanceof Promise ? message.then(resultOf) : resultOf(message));
      } else if (isEnded && queue.size > 0) {
        throw new ConnectError("protocol error: incomplete envelope", Code.InvalidArgument);
      } else if (isEnded) {
        asking = undefined;
        resolve({ done: true, value: undefined });
      } else {
        if (queue.size > 0) {
          timer ??= setTimeout(refuse, maxMessageMs, stalledError());
        }
        stream.resume();
      }
    } catch (error) {
      asking = undefined;
      reject(error);
    }
  }

  function refuse(error: ConnectError): void {
    refusal ??= error;
    give();
  }

  function onData(chunk: Buffer): void {
    if (bodyBudget.take(chunk.length)) {
      queue.add(chunk);
      give();
    } else {
      refuse(bodyBudget.full);
    }
  }

  function onEnd(): void {
    // Of a stream that was reset this is no end: its close tells.
    if (stream.rstCode === constants.NGHTTP2_NO_ERROR) {
      isEnded = true;
      give();
    }
  }

  stream.on("data", onData);
  stream.once("end", onEnd);
  stream.pause();

  return {
    all: {
      [Symbol.asyncIterator]: () => ({
        next() {
          asking = Promise.withResolvers();
          const { promise } = asking;
          give();
          return promise;
        },
        return: async () => ({ done: true, value: undefined }),
      }),
    },
    stop() {
      stream.off("data", onData);
      stream.off("end", onEnd);
      clearTimeout(timer);
      bodyBudget.give(queue.size);
      queue.clear();
      isEnded = true;
      asking?.resolve({ done: true, value: undefined });
      asking = undefined;
    },
  };
}

function resultOf(value: Message): IteratorResult<Message> {
  return { done: false, value };
}

function drained(stream: ServerHttp2Stream): Promise<void> {
  return new Promise((resolve) => {
    function done(): void {
      stream.off("drain", done);
      stream.off("close", done);
      resolve();
    }
    stream.once("drain", done);
    stream.once("close", done);
  });
}
