import type { FrameWriter } from "./frame-writer.ts";
import { frameFlags, frameTypes, initialValues } from "./frames.ts";

/** Sends one body after the other, each on a stream of its own, as far and as soon as the server has room for it. */
export interface BodySender {
  /** Begins to send on a stream. */
  begin(streamId: number): void;
  /** The server has room for `size` bytes more: on a stream, or on the connection (0). */
  addWindow(streamId: number, size: number): void;
  /** The server has room for `size` bytes on each stream, also on those that were begun. */
  setStreamWindow(size: number): void;
  /** Says whether a stream's body was sent, all of it. */
  isSent(streamId: number): boolean;
}

interface UnsentBody {
  streamId: number;
  body: Buffer;
  sentBytes: number;
  window: number;
}

/** Creates what sends the bodies that `nextBody` gives, none of them empty, on the streams of one connection. */
export function createBodySender(writer: FrameWriter, nextBody: () => Buffer): BodySender {
  const unsent = new Map<number, UnsentBody>();
  let streamWindow: number = initialValues.windowBytes;
  let connectionWindow: number = initialValues.windowBytes;

  function send(stream: UnsentBody): void {
    const { streamId, body } = stream;
    while (unsent.has(streamId)) {
      const restBytes = body.length - stream.sentBytes;
      const size = Math.min(restBytes, initialValues.maxFrameBytes, stream.window, connectionWindow);
      if (size <= 0) {
        return;
      }
      const isLast = size === restBytes;
      writer.add({
        type: frameTypes.data,
        flags: isLast ? frameFlags.endStream : 0,
        streamId,
        payload: body.subarray(stream.sentBytes, stream.sentBytes + size),
      });
      stream.sentBytes += size;
      stream.window -= size;
      connectionWindow -= size;
      if (isLast) {
        unsent.delete(streamId);
      }
    }
  }

  return {
    begin(streamId) {
      const stream = { streamId, body: nextBody(), sentBytes: 0, window: streamWindow };
      unsent.set(streamId, stream);
      send(stream);
    },
    addWindow(streamId, size) {
      if (streamId === 0) {
        connectionWindow += size;
        unsent.forEach(send);
        return;
      }
      // Room on a stream may come when nothing is left to send on it.
      const stream = unsent.get(streamId);
      if (stream !== undefined) {
        stream.window += size;
        send(stream);
      }
    },
    setStreamWindow(size) {
      for (const stream of unsent.values()) {
        stream.window += size - streamWindow;
        send(stream);
      }
      streamWindow = size;
    },
    isSent: (streamId) => !unsent.has(streamId),
  };
}
