import net from "node:net";
import { createFrameWriter } from "./frame-writer.ts";
import {
  createFrameReader,
  type Frame,
  frameFlags,
  frameTypes,
  initialValues,
  numberPayload,
  settingIds,
  settingsPayload,
} from "./frames.ts";

export interface StreamConnectionOptions {
  host: string;
  port: number;
  /** The header block of every stream. */
  headers: Buffer;
  /** The first message of a stream, by its index, prefixed and in one frame. */
  firstOf: (index: number) => Buffer;
  /** Every later one. */
  next: Buffer;
  streams: number;
  /** Is asked before each message whether to send one more; after its first no never again. */
  wantsMessage: () => boolean;
}

const receiveWindows = { connection: 16 * 1024 * 1024, stream: 1024 * 1024 };

// In which all that a stream's first message gives rise to is over.
const settleMs = 1000;

/**
 * Opens gRPC streams on one HTTP/2 connection in plain text, and after a second sends on
 * each the next message as soon as the last was answered. Resolves when all that were sent
 * have been answered, with how long that took. Rejects when a stream or the connection
 * ends before. A DATA frame counts as an answer; what it says is not looked at.
 */
export function exchangeMessages(options: StreamConnectionOptions): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const socket = net.connect({ host: options.host, port: options.port, noDelay: true });
  const writer = createFrameWriter(socket);
  const readFrames = createFrameReader(onFrame);
  const receivedBytes = new Map<number, number>();
  let underWay = 0;
  let startMs = 0;
  let isFinished = false;

  socket.on("error", reject);
  socket.on("close", () => reject(new Error("the server closed the connection")));
  socket.on("data", (bytes) => {
    try {
      readFrames(bytes);
      writer.flush();
      if (isFinished && underWay === 0) {
        resolve(performance.now() - startMs);
        socket.destroy();
      }
    } catch (error) {
      reject(error);
      socket.destroy();
    }
  });
  socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  add(
    frameTypes.settings,
    0,
    0,
    settingsPayload([
      [settingIds.headerTableSize, 0],
      [settingIds.enablePush, 0],
      [settingIds.initialWindowSize, receiveWindows.stream],
    ]),
  );
  add(frameTypes.windowUpdate, 0, 0, numberPayload(receiveWindows.connection - initialValues.windowBytes));
  for (let index = 0; index < options.streams; index += 1) {
    const streamId = 1 + 2 * index;
    add(frameTypes.headers, frameFlags.endHeaders, streamId, options.headers);
    add(frameTypes.data, 0, streamId, options.firstOf(index));
  }
  writer.flush();
  setTimeout(begin, settleMs);
  return promise;

  function begin(): void {
    startMs = performance.now();
    underWay = options.streams;
    for (let index = 0; index < options.streams; index += 1) {
      add(frameTypes.data, 0, 1 + 2 * index, options.next);
    }
    writer.flush();
  }

  function onFrame(frame: Frame): void {
    const { type, flags, streamId, payload } = frame;
    if (type === frameTypes.data) {
      onData(streamId, payload);
    } else if (type === frameTypes.settings && (flags & frameFlags.ack) === 0) {
      add(frameTypes.settings, frameFlags.ack, 0, Buffer.alloc(0));
    } else if (type === frameTypes.ping && (flags & frameFlags.ack) === 0) {
      add(frameTypes.ping, frameFlags.ack, 0, payload);
    } else if (type === frameTypes.resetStream || type === frameTypes.goAway) {
      throw new Error(`the server ended with a frame of type ${type}: ${payload.toString("hex")}`);
    } else if (type === frameTypes.headers && (flags & frameFlags.endStream) !== 0) {
      throw new Error(`the server ended stream ${streamId}: ${payload.toString("latin1")}`);
    }
  }

  function onData(streamId: number, payload: Buffer): void {
    const received = (receivedBytes.get(streamId) ?? 0) + payload.length;
    receivedBytes.set(streamId, received);
    // Both keep their windows well open with so much in flight.
    if (received >= receiveWindows.stream / 4) {
      receivedBytes.set(streamId, 0);
      add(frameTypes.windowUpdate, 0, streamId, numberPayload(received));
      add(frameTypes.windowUpdate, 0, 0, numberPayload(received));
    }
    if (underWay === 0) {
      return;
    }
    isFinished ||= !options.wantsMessage();
    if (isFinished) {
      underWay -= 1;
    } else {
      add(frameTypes.data, 0, streamId, options.next);
    }
  }

  function add(type: number, flags: number, streamId: number, payload: Buffer): void {
    writer.add({ type, flags, streamId, payload });
  }
}
