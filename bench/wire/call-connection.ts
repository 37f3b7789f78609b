import net from "node:net";
import { type AnswerProgress, isWholeAnswer, takeAnswerBytes } from "./answer-check.ts";
import { createBodySender } from "./body-sender.ts";
import { createFrameWriter } from "./frame-writer.ts";
import {
  createFrameReader,
  type Frame,
  frameFlags,
  frameTypes,
  initialValues,
  numberPayload,
  readSettings,
  settingIds,
  settingsPayload,
} from "./frames.ts";
import { hasStatusOk } from "./header-block.ts";

export interface CallConnectionOptions {
  host: string;
  port: number;
  /** The header block of every call. */
  headers: Buffer;
  /** Gives the body of the next call, not empty. */
  nextBody: () => Buffer;
  /** How many calls are under way at once. */
  streams: number;
  /** Is asked before each call whether to make one more; after its first no never again. */
  wantsCall: () => boolean;
  /** Ends the connection, with what is under way on it. */
  signal: AbortSignal;
}

const receiveWindows = { connection: 16 * 1024 * 1024, stream: 1024 * 1024 };

const ownSettings = settingsPayload([
  // What hasStatusOk builds upon.
  [settingIds.headerTableSize, 0],
  [settingIds.enablePush, 0],
  [settingIds.initialWindowSize, receiveWindows.stream],
]);

/**
 * Makes unary calls of one method over and over on one HTTP/2 connection in plain text,
 * and resolves when all that were begun have been answered. Rejects with the first
 * answer that is not one whole message with `grpc-status: 0`, and with whatever
 * else ends a call or the connection early.
 *
 * It knows only what a call needs, to cost a fraction of any server: requests are
 * prepared bytes, and of an answer only its length and status are looked at.
 */
export function makeCalls(options: CallConnectionOptions): Promise<void> {
  const { host, port, streams, signal } = options;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const calls = new Map<number, AnswerProgress>();
  const readFrames = createFrameReader(onFrame);
  const socket = net.connect({
    host,
    port,
    noDelay: true,
    signal,
    // One buffer for all that is read, which is cheaper than one for each time.
    onread: { buffer: Buffer.allocUnsafe(256 * 1024), callback: onBytes },
  });
  socket.on("error", reject);
  socket.on("close", () => reject(new Error("the server closed the connection")));
  const writer = createFrameWriter(socket);
  const bodies = createBodySender(writer, options.nextBody);
  const handlers = new Map<number, (frame: Frame) => void>([
    [frameTypes.data, onData],
    [frameTypes.headers, onHeaders],
    [frameTypes.resetStream, onResetStream],
    [frameTypes.settings, onSettings],
    [frameTypes.ping, onPing],
    [frameTypes.goAway, onGoAway],
    [frameTypes.windowUpdate, onWindowUpdate],
    [frameTypes.pushPromise, refuse],
    [frameTypes.continuation, refuse],
  ]);
  let nextStreamId = 1;
  let hasSettings = false;
  let isFinished = false;
  let unreturnedBytes = 0;

  socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  add(frameTypes.settings, 0, 0, ownSettings);
  returnWindow(0, receiveWindows.connection - initialValues.windowBytes);
  writer.flush();
  return promise;

  function onBytes(length: number, buffer: Uint8Array): boolean {
    try {
      readFrames(Buffer.from(buffer.buffer, buffer.byteOffset, length));
      if (hasSettings) {
        beginCalls();
      }
      writer.flush();
      if (isFinished && calls.size === 0) {
        resolve();
        socket.destroy();
      }
    } catch (error) {
      reject(error);
      socket.destroy();
    }
    return true;
  }

  function beginCalls(): void {
    while (calls.size < streams && !isFinished) {
      isFinished = !options.wantsCall();
      if (!isFinished) {
        calls.set(nextStreamId, { receivedBytes: 0, messageBytes: 0 });
        add(frameTypes.headers, frameFlags.endHeaders, nextStreamId, options.headers);
        bodies.begin(nextStreamId);
        nextStreamId += 2;
      }
    }
  }

  function onFrame(frame: Frame): void {
    // RFC 9113 lets a client ignore what it does not know.
    handlers.get(frame.type)?.(frame);
  }

  function onData(frame: Frame): void {
    const { streamId, payload } = frame;
    refusePadding(frame);
    const answer = answerOn(streamId);
    if ((frame.flags & frameFlags.endStream) !== 0) {
      throw new Error("the server ended an answer without trailers");
    }
    takeAnswerBytes(answer, payload);
    if (!isWholeAnswer(answer)) {
      returnWindow(streamId, payload.length);
    }
    unreturnedBytes += payload.length;
    if (unreturnedBytes >= receiveWindows.connection / 2) {
      returnWindow(0, unreturnedBytes);
      unreturnedBytes = 0;
    }
  }

  function onHeaders(frame: Frame): void {
    const { streamId, payload } = frame;
    refusePadding(frame);
    const answer = answerOn(streamId);
    if ((frame.flags & frameFlags.endHeaders) === 0) {
      throw new Error(
        "the server's headers go on in another frame, and this client does not know how to read them",
      );
    }
    if ((frame.flags & frameFlags.endStream) === 0) {
      return;
    }
    if (!hasStatusOk(payload)) {
      throw new Error(
        `a call did not end with grpc-status 0 but with the trailers ${payload.toString("hex")}`,
      );
    }
    if (!isWholeAnswer(answer)) {
      throw new Error(`an answer is not one whole message but ${answer.receivedBytes} bytes`);
    }
    if (!bodies.isSent(streamId)) {
      throw new Error("the server answered before it had read the request");
    }
    calls.delete(streamId);
  }

  function onSettings({ flags, payload }: Frame): void {
    if ((flags & frameFlags.ack) !== 0) {
      return;
    }
    const settings = readSettings(payload);
    const maxStreams = settings.get(settingIds.maxConcurrentStreams) ?? streams;
    if (maxStreams < streams) {
      throw new Error(`the server takes ${maxStreams} calls at once on a connection, not ${streams}`);
    }
    const streamWindow = settings.get(settingIds.initialWindowSize);
    if (streamWindow !== undefined) {
      bodies.setStreamWindow(streamWindow);
    }
    add(frameTypes.settings, frameFlags.ack, 0, Buffer.alloc(0));
    hasSettings = true;
  }

  function onWindowUpdate({ streamId, payload }: Frame): void {
    bodies.addWindow(streamId, payload.readUInt32BE(0));
  }

  function onPing({ flags, payload }: Frame): void {
    if ((flags & frameFlags.ack) === 0) {
      add(frameTypes.ping, frameFlags.ack, 0, payload);
    }
  }

  function answerOn(streamId: number): AnswerProgress {
    const answer = calls.get(streamId);
    if (answer === undefined) {
      throw new Error(`the server answers on stream ${streamId}, where no call is under way`);
    }
    return answer;
  }

  function returnWindow(streamId: number, size: number): void {
    // An update by 0 would be an error.
    if (size > 0) {
      add(frameTypes.windowUpdate, 0, streamId, numberPayload(size));
    }
  }

  function add(type: number, flags: number, streamId: number, payload: Buffer): void {
    writer.add({ type, flags, streamId, payload });
  }
}

function onResetStream({ payload }: Frame): void {
  throw new Error(`the server reset a call with code ${payload.readUInt32BE(0)}`);
}

function onGoAway({ payload }: Frame): void {
  throw new Error(`the server said GOAWAY with code ${payload.readUInt32BE(4)}`);
}

function refuse({ type }: Frame): void {
  throw new Error(`the server sent a frame of type ${type}, and this client does not know how to read it`);
}

function refusePadding(frame: Frame): void {
  if ((frame.flags & frameFlags.padded) !== 0) {
    throw new Error("the server pads its frames, and this client does not know how to read them");
  }
}
