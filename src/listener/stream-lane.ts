import { constants, type ServerHttp2Stream } from "node:http2";
import { create, fromBinary, isMessage, type Message, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, type MethodImplSpec } from "@connectrpc/connect";
import { compressedFlag } from "@connectrpc/connect/protocol";
import { type BodyBudget, noRoomError, stalledError } from "./body-budget.ts";
import { createByteQueue } from "./byte-queue.ts";
import {
  begin,
  compressedFrameOf,
  finish,
  headBytes,
  type LaneCall,
  nodeHeaders,
  smallFrameOf,
} from "./lane-answer.ts";

type BidiSpec = Extract<MethodImplSpec, { kind: "bidi_streaming" }>;

/** What a client that sends a message may use. */
export interface StreamLimits {
  maxMessageBytes: number;
  /** How long a message may take once some of it is there. */
  maxMessageMs: number;
  /** Of messages that are not whole yet. */
  bodyBudget: BodyBudget;
}

/**
 * Serves a stream of messages both ways. One message is read when the handler asks
 * for it, and the handler is asked for one when the last was written: what neither
 * side takes waits in HTTP/2's windows.
 */
export function serveStream(call: LaneCall, limits: StreamLimits, fail: (error: unknown) => void): void {
  const { stream, context } = call;
  const spec = call.method.spec as BidiSpec;
  const requests = readMessages(stream, limits, (bytes) => decode(spec, bytes));
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
    // Trailers follow what is otherwise the end. Node sends them in the next turn.
    const hasTrailers = stream.headersSent || error === undefined || context.setHeader !== undefined;
    stream.once(hasTrailers ? "wantTrailers" : "finish", () =>
      setImmediate(() => setImmediate(leaveBehind, stream)),
    );
    if (error !== undefined) {
      fail(error);
    } else {
      context.release();
      if (!stream.headersSent) {
        begin(call);
      }
      finish(call, nodeHeaders(context.setTrailer));
      stream.end();
    }
  }

  async function respond(): Promise<void> {
    const { output: schema } = spec.method;
    const responses = spec.impl(requests.all, context)[Symbol.asyncIterator]();
    for (;;) {
      const next = await responses.next();
      if (isOver || next.done === true) {
        return end();
      }
      const { value } = next;
      const bytes = toBinary(schema, isMessage(value, schema) ? value : create(schema, value));
      const frame = smallFrameOf(call, bytes) ?? (await compressedFrameOf(bytes));
      if (stream.closed || stream.destroyed) {
        return end();
      }
      if (!stream.headersSent) {
        begin(call);
      }
      if (!stream.write(frame)) {
        await drained(stream);
      }
    }
  }

  // Its deadline has passed, or the caller has left.
  context.signal.addEventListener("abort", () => end(context.signal.reason), { once: true });
  respond().catch(end);
}

function decode({ method }: BidiSpec, bytes: Uint8Array): Message {
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
// paused while nobody asks: it holds no more than one chunk, or one message.
function readMessages(
  stream: ServerHttp2Stream,
  { maxMessageBytes, maxMessageMs, bodyBudget }: StreamLimits,
  decodeMessage: (bytes: Uint8Array) => Message,
): MessageReader {
  const queue = createByteQueue();
  let isEnded = false;
  let refusal: ConnectError | undefined;
  let timer: NodeJS.Timeout | undefined;
  let asking: PromiseWithResolvers<IteratorResult<Message>> | undefined;

  // The next message; undefined: it is not there yet.
  function take(): Uint8Array | undefined {
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
    if (envelope[0] === compressedFlag) {
      throw new ConnectError(
        "received compressed envelope, but do not know how to decompress",
        Code.Internal,
      );
    }
    if (envelope[0] !== 0) {
      throw new ConnectError(`received an envelope with unknown flags ${envelope[0]}`, Code.Internal);
    }
    return envelope.subarray(headBytes);
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
      const bytes = take();
      if (bytes !== undefined) {
        asking = undefined;
        stream.pause();
        resolve({ done: false, value: decodeMessage(bytes) });
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
      refuse(noRoomError());
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

// The client hears that nobody reads what it may still send.
function leaveBehind(stream: ServerHttp2Stream): void {
  if (!stream.closed && !stream.readableEnded) {
    stream.close(constants.NGHTTP2_NO_ERROR);
  }
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
