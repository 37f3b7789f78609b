import { once } from "node:events";
import type http2 from "node:http2";
import net from "node:net";
import {
  type DescMessage,
  type DescMethodBiDiStreaming,
  fromBinary,
  type MessageShape,
} from "@bufbuild/protobuf";
import { http2Frame, http2Headers, http2Opening } from "./http2-frame.ts";

/** Takes bytes as they come, and gives the messages of the frames that are whole. */
export function createGrpcReader(): (chunk: Buffer) => Buffer[] {
  let rest = Buffer.alloc(0);
  return (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    const messages: Buffer[] = [];
    while (rest.length >= 5 && rest.length >= 5 + rest.readUInt32BE(1)) {
      const end = 5 + rest.readUInt32BE(1);
      messages.push(rest.subarray(5, end));
      rest = rest.subarray(end);
    }
    return messages;
  };
}

/** A stream of gRPC frames that no library made. */
export interface RawStream<Response> {
  /** Bytes of the body. Resolves when they have left. */
  write(bytes: Buffer): Promise<void>;
  /** Sends no more. */
  halfClose(): void;
  /** Leaves in the middle of whatever it is. */
  reset(): void;
  /** Reads what comes from now on. Before, nothing is. */
  read(): void;
  /** What was read. */
  received: Response[];
  /** The trailers, once the stream is over; `undefined` where there were none. */
  ended: Promise<http2.IncomingHttpHeaders | undefined>;
}

/** Opens a stream on a connection. */
export function openRaw<Request extends DescMessage, Response extends DescMessage>(
  session: http2.ClientHttp2Session,
  method: DescMethodBiDiStreaming<Request, Response>,
): RawStream<MessageShape<Response>> {
  const stream = session.request({
    ":method": "POST",
    ":path": pathOf(method),
    "content-type": "application/grpc",
    te: "trailers",
  });
  stream.on("error", () => undefined);
  const received: MessageShape<Response>[] = [];
  const readFrames = createGrpcReader();
  let trailers: http2.IncomingHttpHeaders | undefined;
  stream.on("response", (headers) => {
    // A call that fails at once has but one head.
    if (headers["grpc-status"] !== undefined) {
      trailers = headers;
    }
  });
  const ended = Promise.withResolvers<http2.IncomingHttpHeaders | undefined>();
  stream.on("trailers", (headers) => {
    trailers = headers;
    ended.resolve(trailers);
  });
  stream.on("close", () => ended.resolve(trailers));
  // One after the other, as libraries do: Node's client has got stuck with many at once.
  let last = Promise.resolve();
  return {
    write(bytes) {
      last = last.then(() => new Promise((resolve) => stream.write(bytes, () => resolve())));
      return last;
    },
    halfClose: () => void stream.end(),
    reset: () => stream.close(8),
    read() {
      stream.on("data", (chunk: Buffer) => {
        received.push(...readFrames(chunk).map((bytes) => fromBinary(method.output, bytes)));
      });
    },
    received,
    ended: ended.promise,
  };
}

/** What came back to a client that wrote byte by byte. */
export interface SlowStream<Response> {
  /** Writes one DATA frame of HTTP/2 for every byte, and every byte by itself. */
  write(bytes: Buffer): Promise<void>;
  received: Response[];
  close(): void;
}

/** Opens a stream on a socket, each byte of which is written alone. */
export async function openByteByByte<Request extends DescMessage, Response extends DescMessage>(
  url: string,
  method: DescMethodBiDiStreaming<Request, Response>,
): Promise<SlowStream<MessageShape<Response>>> {
  const socket = net.connect(Number(new URL(url).port), "127.0.0.1").setNoDelay(true);
  socket.on("error", () => undefined);
  await once(socket, "connect");
  const received: MessageShape<Response>[] = [];
  const readMessages = createGrpcReader();
  let rest = Buffer.alloc(0);
  socket.on("data", (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 9 && rest.length >= 9 + rest.readUIntBE(0, 3)) {
      const end = 9 + rest.readUIntBE(0, 3);
      const isData = rest.readUInt8(3) === 0;
      if (isData) {
        const messages = readMessages(rest.subarray(9, end));
        received.push(...messages.map((bytes) => fromBinary(method.output, bytes)));
      }
      rest = rest.subarray(end);
    }
  });

  async function writeBytes(bytes: Buffer): Promise<void> {
    for (const byte of bytes) {
      await new Promise<void>((resolve) => socket.write(Buffer.from([byte]), () => resolve()));
    }
  }

  const head = { ":path": pathOf(method), "content-type": "application/grpc", te: "trailers" };
  await writeBytes(Buffer.concat([http2Opening, http2Headers(1, head)]));
  return {
    write: (bytes) =>
      writeBytes(Buffer.concat(Array.from(bytes, (byte) => http2Frame("DATA", 1, Buffer.from([byte]))))),
    received,
    close: () => void socket.destroy(),
  };
}

function pathOf({ parent, name }: DescMethodBiDiStreaming): string {
  return `/${parent.typeName}/${name}`;
}
