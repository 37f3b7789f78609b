import { prefixBytes } from "./answer-check.ts";

/** A message as gRPC sends it: uncompressed, after its length. */
export function prefixMessage(message: Uint8Array): Buffer {
  const bytes = Buffer.alloc(prefixBytes + message.length);
  bytes.writeUInt32BE(message.length, 1);
  bytes.set(message, prefixBytes);
  return bytes;
}
