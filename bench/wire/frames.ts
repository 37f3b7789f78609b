/** The frames of HTTP/2 (RFC 9113) that a client of unary calls sends or must understand. */
export const frameTypes = {
  data: 0x0,
  headers: 0x1,
  resetStream: 0x3,
  settings: 0x4,
  pushPromise: 0x5,
  ping: 0x6,
  goAway: 0x7,
  windowUpdate: 0x8,
  continuation: 0x9,
} as const;

export const frameFlags = { ack: 0x1, endStream: 0x1, endHeaders: 0x4, padded: 0x8 } as const;

export const settingIds = {
  headerTableSize: 0x1,
  enablePush: 0x2,
  maxConcurrentStreams: 0x3,
  initialWindowSize: 0x4,
  maxFrameSize: 0x5,
} as const;

/** What holds on a connection until a SETTINGS or WINDOW_UPDATE frame says otherwise. */
export const initialValues = { windowBytes: 65_535, maxFrameBytes: 16_384 } as const;

/** The length of what stands before a frame's payload. */
export const frameHeadBytes = 9;

export interface Frame {
  type: number;
  flags: number;
  streamId: number;
  /** Valid until the reader returns. */
  payload: Buffer;
}

/** Writes what stands before a payload of `length` bytes. */
export function writeFrameHead(
  target: Buffer,
  offset: number,
  head: Pick<Frame, "type" | "flags" | "streamId"> & { length: number },
): void {
  target.writeUIntBE(head.length, offset, 3);
  target[offset + 3] = head.type;
  target[offset + 4] = head.flags;
  target.writeUInt32BE(head.streamId, offset + 5);
}

/** Creates a function that takes a connection's bytes, cut anywhere, and hands on its whole frames. */
export function createFrameReader(onFrame: (frame: Frame) => void): (chunk: Buffer) => void {
  let rest = Buffer.alloc(0);
  return (chunk) => {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let start = 0;
    while (bytes.length - start >= frameHeadBytes) {
      const end = start + frameHeadBytes + bytes.readUIntBE(start, 3);
      if (end > bytes.length) {
        break;
      }
      onFrame({
        type: bytes.readUInt8(start + 3),
        flags: bytes.readUInt8(start + 4),
        streamId: bytes.readUInt32BE(start + 5) & 0x7fff_ffff,
        payload: bytes.subarray(start + frameHeadBytes, end),
      });
      start = end;
    }
    // A copy: the chunk's memory is used again for the next one.
    rest = Buffer.from(bytes.subarray(start));
  };
}

/** The payload of a SETTINGS frame. */
export function settingsPayload(settings: readonly (readonly [id: number, value: number])[]): Buffer {
  const payload = Buffer.alloc(settings.length * 6);
  for (const [index, [id, value]] of settings.entries()) {
    payload.writeUInt16BE(id, index * 6);
    payload.writeUInt32BE(value, index * 6 + 2);
  }
  return payload;
}

/** Reads the payload of a SETTINGS frame: values by id. */
export function readSettings(payload: Buffer): Map<number, number> {
  const settings = new Map<number, number>();
  for (let offset = 0; offset < payload.length; offset += 6) {
    settings.set(payload.readUInt16BE(offset), payload.readUInt32BE(offset + 2));
  }
  return settings;
}

/** A payload that is one number: that of WINDOW_UPDATE. */
export function numberPayload(value: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(value);
  return payload;
}
