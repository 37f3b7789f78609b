const types = {
  DATA: 0,
  HEADERS: 1,
  PRIORITY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  CONTINUATION: 9,
  UNKNOWN: 0xef,
};

/** One frame of HTTP/2 (RFC 9113, 4.1). */
export function http2Frame(type: keyof typeof types, streamId: number, payload: Buffer, flags = 0): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(types[type], 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(streamId, 5);
  return Buffer.concat([head, payload]);
}

/** What a client begins a connection with. */
export const http2Opening = Buffer.concat([
  Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
  http2Frame("SETTINGS", 0, Buffer.alloc(0)),
]);

const endHeaders = 4;

/** The head of a POST whose body is to follow; the headers are literals, which need no tables (RFC 7541, 6.2.2). */
export function http2Headers(streamId: number, headers: Record<string, string>): Buffer {
  const all = { ":method": "POST", ":scheme": "http", ":authority": "localhost", ...headers };
  const literals = Object.entries(all).flatMap(([name, value]) => [
    Buffer.from([0, name.length]),
    Buffer.from(name),
    Buffer.from([value.length]),
    Buffer.from(value),
  ]);
  return http2Frame("HEADERS", streamId, Buffer.concat(literals), endHeaders);
}
