import { gzipSync } from "node:zlib";

/** A gRPC message on the wire: flags, length, bytes. */
export function grpcFrame(bytes: Uint8Array, flags = 0, length = bytes.length): Buffer {
  const head = Buffer.alloc(5);
  head[0] = flags;
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, bytes]);
}

/** The same, compressed. */
export function gzipFrame(bytes: Uint8Array): Buffer {
  return grpcFrame(gzipSync(bytes), 1);
}
