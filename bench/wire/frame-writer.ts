import type { Socket } from "node:net";
import { type Frame, frameHeadBytes, initialValues, writeFrameHead } from "./frames.ts";

/** Collects frames, so that all that one read gives rise to is one write. */
export interface FrameWriter {
  /** Adds a frame. Its payload is copied, and is no longer than a frame may always be. */
  add(frame: Frame): void;
  /** Writes what was added. */
  flush(): void;
}

const capacityBytes = 4 * (frameHeadBytes + initialValues.maxFrameBytes);

/** Creates a writer to a socket. */
export function createFrameWriter(socket: Socket): FrameWriter {
  let buffer = Buffer.allocUnsafe(capacityBytes);
  let used = 0;

  function flush(): void {
    if (used === 0) {
      return;
    }
    socket.write(buffer.subarray(0, used));
    used = 0;
    // Mostly the kernel has taken it all by now, and the memory is free again.
    if (socket.writableLength > 0) {
      buffer = Buffer.allocUnsafe(capacityBytes);
    }
  }

  return {
    add({ payload, ...head }) {
      if (used + frameHeadBytes + payload.length > capacityBytes) {
        flush();
      }
      writeFrameHead(buffer, used, { ...head, length: payload.length });
      payload.copy(buffer, used + frameHeadBytes);
      used += frameHeadBytes + payload.length;
    },
    flush,
  };
}
