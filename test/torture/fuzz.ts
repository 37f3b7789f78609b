import http2 from "node:http2";
import net from "node:net";
import { gzipSync } from "node:zlib";
import {
  create,
  type DescField,
  type DescMessage,
  type DescMethod,
  type Message,
  ScalarType,
  toBinary,
} from "@bufbuild/protobuf";
import { CallbackService } from "../../gen/taskgate/v1/callback_pb.ts";
import { ExecutorService } from "../../gen/taskgate/v1/executor_pb.ts";
import { GatewayService } from "../../gen/taskgate/v1/gateway_pb.ts";
import { TaskStatusService } from "../../gen/taskgate/v1/task_status_pb.ts";
import { grpcFrame } from "../support/grpc-frame.ts";
import { http2Frame, http2Headers, http2Opening } from "../support/http2-frame.ts";
import { intBetween, pick, type Random, uuidOf } from "./random.ts";

export interface FuzzOptions {
  port: number;
  random: Random;
  /** Mutated messages, of every RPC. */
  messages: number;
  /** Mutated connections: frames of HTTP/2. */
  connections: number;
  /** How many at once. */
  atOnce: number;
}

export interface FuzzResult {
  problems: string[];
  /** How many calls ended with which gRPC status, and how many with none. */
  statuses: Record<string, number>;
}

const methods = [TaskStatusService, CallbackService, ExecutorService, GatewayService]
  .flatMap(({ methods: all }): DescMethod[] => all)
  // It would be obeyed.
  .filter(({ name }) => name !== "Drain") as [DescMethod, ...DescMethod[]];

/** Sends what is almost right, and says what should not have come of it. */
export async function runFuzz(options: FuzzOptions): Promise<FuzzResult> {
  const problems: string[] = [];
  const statuses: Record<string, number> = {};
  await fuzzMessages(options, problems, statuses);
  await fuzzConnections(options, problems);
  return { problems: problems.slice(0, 10), statuses };
}

async function fuzzMessages(
  { port, random, messages, atOnce }: FuzzOptions,
  problems: string[],
  statuses: Record<string, number>,
): Promise<void> {
  let session = connect(port);
  let left = messages;
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      while (left > 0) {
        left -= 1;
        const method = pick(random, methods);
        const body = mutatedCall(random, method);
        if (session.closed || session.destroyed) {
          session = connect(port);
        }
        const { status, words } = await call(session, random, method, body);
        statuses[status] = (statuses[status] ?? 0) + 1;
        if (status === "hung" || words === "internal error") {
          problems.push(`${method.name} ${body.toString("hex").slice(0, 400)}: ${status} ${words}`);
        }
      }
    }),
  );
  session.destroy();
}

function connect(port: number): http2.ClientHttp2Session {
  const session = http2.connect(`http://127.0.0.1:${port}`);
  session.on("error", () => undefined);
  return session;
}

const types = [
  "application/grpc",
  "application/grpc",
  "application/grpc+proto",
  "application/grpc-web",
] as const;

function call(
  session: http2.ClientHttp2Session,
  random: Random,
  method: DescMethod,
  body: Buffer,
): Promise<{ status: string; words: string }> {
  return new Promise((resolve) => {
    let status = "none";
    let words = "";
    const stream = session.request({
      ":method": "POST",
      ":path": `/${method.parent.typeName}/${method.name}`,
      "content-type": pick(random, [...types]),
      "grpc-timeout": "300m",
      te: "trailers",
      ...(random() < 0.3 ? { "grpc-encoding": "gzip" } : {}),
    });
    const timer = setTimeout(() => {
      status = "hung";
      stream.close(8);
    }, 20_000);
    const read = (headers: http2.IncomingHttpHeaders) => {
      status = String(headers["grpc-status"] ?? status);
      words = decodeURIComponent(String(headers["grpc-message"] ?? words));
    };
    stream.on("response", read);
    stream.on("trailers", read);
    stream.on("data", (chunk: Buffer) => {
      status = /grpc-status: *(\d+)/.exec(chunk.toString("latin1"))?.[1] ?? status;
    });
    stream.on("error", () => undefined);
    stream.on("close", () => {
      clearTimeout(timer);
      resolve({ status, words });
    });
    stream.end(body);
  });
}

/** One frame of gRPC, or some, that are almost a request. */
function mutatedCall(random: Random, method: DescMethod): Buffer {
  let message: Buffer = Buffer.from(toBinary(method.input, randomMessage(method.input, random, 0)));
  for (let count = intBetween(random, 0, 4); count > 0; count -= 1) {
    message = mutate(random, message);
  }
  const lie = random();
  if (lie < 0.1) {
    return grpcFrame(message, intBetween(random, 0, 256), intBetween(random, 0, 2 ** 32));
  }
  if (lie < 0.2) {
    const packed = gzipSync(message);
    return grpcFrame(random() < 0.5 ? mutate(random, packed) : packed, 1);
  }
  const frame = grpcFrame(message, lie < 0.25 ? 1 : 0);
  if (lie < 0.3) {
    return frame.subarray(0, intBetween(random, 0, frame.length));
  }
  return lie < 0.35 ? Buffer.concat([frame, frame]) : frame;
}

const hostile = [
  Buffer.from([0xff, 0xfe]),
  Buffer.from([0xed, 0xa0, 0x80]),
  Buffer.from([0xc0, 0xaf]),
  // A length of 2^31 and more, and one that never ends.
  Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]),
  Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
  // Groups within groups, and their ends.
  Buffer.alloc(500, 0x0b),
  Buffer.alloc(500, 0x0c),
  // The numbers 0 and 2^29 - 1 of a field.
  Buffer.from([0x00, 0x00]),
  Buffer.from([0xfa, 0xff, 0xff, 0xff, 0x0f, 0x00]),
  // Messages within messages.
  nested(100),
  nested(1000),
] as const;

function nested(depth: number): Buffer {
  let bytes: Buffer = Buffer.alloc(0);
  for (let level = 0; level < depth && bytes.length < 16_000; level += 1) {
    bytes = Buffer.concat([Buffer.from([0x2a]), varint(bytes.length), bytes]);
  }
  return bytes;
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 0x7f) {
    bytes.push((rest & 0x7f) | 0x80);
    rest >>>= 7;
  }
  return Buffer.from([...bytes, rest]);
}

function mutate(random: Random, bytes: Buffer): Buffer<ArrayBuffer> {
  const at = intBetween(random, 0, bytes.length + 1);
  const [before, after] = [bytes.subarray(0, at), bytes.subarray(at)];
  switch (intBetween(random, 0, 6)) {
    case 0:
      return Buffer.from(before);
    case 1: {
      const flipped = Buffer.from(bytes);
      if (at < flipped.length) {
        flipped[at] = (flipped[at] ?? 0) ^ (1 << intBetween(random, 0, 8));
      }
      return flipped;
    }
    case 2:
      return Buffer.concat([before, Buffer.from([intBetween(random, 0, 256)]), after]);
    case 3:
      return Buffer.concat([before, pick(random, [...hostile] as [Buffer, ...Buffer[]]), after]);
    case 4:
      return Buffer.concat([before, after.subarray(intBetween(random, 0, 5))]);
    default:
      return Buffer.concat([bytes, before]);
  }
}

const texts = [
  "",
  "a",
  "a/b",
  "{}",
  '{"a":1}',
  "[",
  "null",
  "\0",
  "\n---\nmethod: awf.task/fail",
  "\u2028\ud83d\ude00",
  "x".repeat(3000),
  "/api/processes/1d876307-8c0a-42a1-8299-af0516223652/callback/A-Za-z0-9_abcdefghijklmnopqrstuvwxyz0123456",
] as const;

function randomMessage(desc: DescMessage, random: Random, depth: number): Message {
  const init: Record<string, unknown> = {};
  for (const field of desc.fields) {
    const isChosen = field.oneof === undefined || field === pick(random, field.oneof.fields as [DescField]);
    if (!isChosen || random() < 0.3) {
      continue;
    }
    const value = randomValue(field, random, depth);
    if (value === undefined) {
      continue;
    }
    if (field.oneof === undefined) {
      init[field.localName] = value;
    } else {
      init[field.oneof.localName] = { case: field.localName, value };
    }
  }
  return create(desc, init as never);
}

function randomValue(field: DescField, random: Random, depth: number): unknown {
  const one = (): unknown => {
    switch (field.fieldKind) {
      case "enum":
        return intBetween(random, 0, 12);
      case "message":
        return depth > 4 || field.message.typeName.startsWith("google.protobuf.Struct")
          ? undefined
          : randomMessage(field.message, random, depth + 1);
      case "scalar":
        return scalarOf(field.scalar, random);
      default:
        return undefined;
    }
  };
  if (field.fieldKind === "list") {
    const { listKind } = field;
    const item = (): unknown =>
      listKind === "scalar"
        ? scalarOf(field.scalar, random)
        : listKind === "enum"
          ? intBetween(random, 0, 12)
          : depth > 3
            ? undefined
            : randomMessage(field.message, random, depth + 1);
    return Array.from({ length: intBetween(random, 0, 4) }, item).filter((each) => each !== undefined);
  }
  return one();
}

function scalarOf(type: ScalarType, random: Random): unknown {
  const number = pick(random, [0, 1, -1, 2 ** 31 - 1, -(2 ** 31), 1000] as [number, ...number[]]);
  switch (type) {
    case ScalarType.STRING:
      return random() < 0.2 ? uuidOf(random) : pick(random, [...texts] as [string, ...string[]]);
    case ScalarType.BYTES:
      return new Uint8Array(3);
    case ScalarType.BOOL:
      return random() < 0.5;
    case ScalarType.INT64:
    case ScalarType.SINT64:
    case ScalarType.SFIXED64:
      return pick(random, [0n, 1n, -1n, 2n ** 63n - 1n] as [bigint, ...bigint[]]);
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
      return pick(random, [0n, 1n, 2n ** 64n - 1n] as [bigint, ...bigint[]]);
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return Math.abs(number) % 2 ** 31;
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return pick(random, [0, Number.NaN, Number.POSITIVE_INFINITY, 1e300] as [number, ...number[]]);
    default:
      return number;
  }
}

async function fuzzConnections(
  { port, random, connections, atOnce }: FuzzOptions,
  problems: string[],
): Promise<void> {
  let left = connections;
  await Promise.all(
    // Whoever breaks the rules waits, up to a second a connection, and all wait at once.
    Array.from({ length: atOnce * 8 }, async () => {
      while (left > 0) {
        left -= 1;
        const bytes = mutatedConnection(random);
        if (!(await sendBytes(port, bytes))) {
          problems.push(`a connection was not closed: ${bytes.toString("hex").slice(0, 400)}`);
        }
      }
    }),
  );
}

function mutatedConnection(random: Random): Buffer {
  const method = pick(random, methods);
  const frames = [
    http2Headers(1, {
      ":path": `/${method.parent.typeName}/${method.name}`,
      "content-type": "application/grpc",
      te: "trailers",
    }),
    http2Frame("DATA", 1, mutatedCall(random, method).subarray(0, 16_000), 1),
  ];
  for (let count = intBetween(random, 0, 6); count > 0; count -= 1) {
    frames.splice(intBetween(random, 0, frames.length + 1), 0, randomFrame(random));
  }
  let bytes = Buffer.concat([http2Opening, ...frames]);
  for (let count = intBetween(random, 0, 3); count > 0; count -= 1) {
    bytes = mutate(random, bytes);
  }
  return bytes;
}

function randomFrame(random: Random): Buffer {
  const payload = Buffer.from(
    Array.from({ length: pick(random, [0, 1, 4, 5, 6, 8, 12, 40] as [number, ...number[]]) }, () =>
      intBetween(random, 0, random() < 0.5 ? 4 : 256),
    ),
  );
  const frame = http2Frame("DATA", intBetween(random, 0, 6), payload, intBetween(random, 0, 256));
  frame.writeUInt8(intBetween(random, 0, 12), 3);
  return frame;
}

// Whether the other side ended it, which it must once this one has.
function sendBytes(port: number, bytes: Buffer): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(port, "127.0.0.1");
    const timer = setTimeout(() => {
      socket.destroy();
      resolve(false);
    }, 20_000);
    socket.on("error", () => undefined);
    socket.on("close", () => {
      clearTimeout(timer);
      resolve(true);
    });
    socket.resume();
    socket.end(bytes);
  });
}
