import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { gunzipSync } from "node:zlib";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import {
  GatewayService,
  type WatchDeliveriesRequest,
  WatchDeliveriesRequestSchema,
  WatchDeliveriesResponseSchema,
} from "../../gen/taskgate/v1/gateway_pb.ts";
import {
  TaskStatusService,
  type TrackRunRequest,
  TrackRunRequestSchema,
  TrackRunResponseSchema,
} from "../../gen/taskgate/v1/task_status_pb.ts";
import { createBodyBudget } from "../../src/listener/body-budget.ts";
import { createRoute } from "../../src/model/route.ts";
import { tooManyUnfinishedBytes } from "../../src/rpc/errors.ts";
import { grpcFrame, gzipFrame } from "../support/grpc-frame.ts";
import { type RawResponse, sendRaw, useHttp2Session, useListener } from "../support/use-listener.ts";

const headers = {
  ":path": "/taskgate.v1.TaskStatusService/TrackRun",
  "content-type": "application/grpc",
};

// Does what a message says.
async function* behave(word: string, context: HandlerContext) {
  switch (word) {
    case "metadata":
      context.responseHeader.set("x-initial", "one");
      context.responseTrailer.set("x-trailing", "three");
      yield word;
      break;
    case "large":
      yield "x".repeat(100_000);
      break;
    case "many":
      for (let count = 0; count < 3000; count += 1) {
        yield `${count} ${"y".repeat(500)}`;
      }
      break;
    case "connect error":
      throw new ConnectError("a message: with / reserved & ünïcode", Code.Aborted, { "x-error": "yes" });
    case "bug":
      throw new Error("a secret detail");
    case "deadline":
      await new Promise((resolve) => context.signal.addEventListener("abort", resolve));
      throw ConnectError.from(context.signal.reason);
    default:
      yield `hello ${word}`;
  }
}

async function* trackRun(requests: AsyncIterable<TrackRunRequest>, context: HandlerContext) {
  for await (const { requestId } of requests) {
    if (requestId === "leave") {
      return;
    }
    for await (const word of behave(requestId, context)) {
      yield { requestId: word };
    }
  }
  yield { requestId: "bye" };
}

async function* watchDeliveries({ taskId }: WatchDeliveriesRequest, context: HandlerContext) {
  for await (const word of behave(taskId, context)) {
    yield { delivery: { taskId: word } };
  }
  yield { delivery: { taskId: "bye" } };
}

function frame(requestId: string): Buffer {
  return grpcFrame(toBinary(TrackRunRequestSchema, create(TrackRunRequestSchema, { requestId })));
}

function zipped(requestId: string): Buffer {
  return gzipFrame(frame(requestId).subarray(5));
}

function question(taskId: string): Buffer {
  return grpcFrame(toBinary(WatchDeliveriesRequestSchema, create(WatchDeliveriesRequestSchema, { taskId })));
}

const routes = [
  createRoute(TaskStatusService, { trackRun }, "known"),
  createRoute(GatewayService, { watchDeliveries }, "known"),
];

interface StreamMethod {
  path: string;
  wordOf: (message: Uint8Array) => string | undefined;
}

const both: StreamMethod = {
  path: headers[":path"],
  wordOf: (message) => fromBinary(TrackRunResponseSchema, message).requestId,
};
const oneWay: StreamMethod = {
  path: "/taskgate.v1.GatewayService/WatchDeliveries",
  wordOf: (message) => fromBinary(WatchDeliveriesResponseSchema, message).delivery?.taskId,
};

async function sendBoth(method: StreamMethod, more: Record<string, string>, body: Buffer | undefined) {
  const responses: ReturnType<typeof asClientSees>[] = [];
  const unexpected: number[] = [];
  for (const fastLane of [true, false]) {
    const used = await useListener({ routes, fastLane });
    const asked = { ...headers, ":path": method.path, ...more };
    responses.push(asClientSees(await sendRaw(useHttp2Session(used.url), asked, body), method));
    unexpected.push(used.unexpected.length);
  }
  return { lane: responses[0], adapter: responses[1], unexpected };
}

// As for unary calls: only trailers come in one block or in two. What is compressed
// comes as what it says.
function asClientSees({ headers: first, body, trailers, rstCode }: RawResponse, { wordOf } = both) {
  const { ":status": status, "content-type": type, "grpc-encoding": encoding, ...initial } = first;
  const isTrailersOnly = "grpc-status" in first;
  const messages: (string | undefined)[] = [];
  for (let at = 0; at < body.length; ) {
    const end = at + 5 + body.readUInt32BE(at + 1);
    const bytes = body.subarray(at + 5, end);
    messages.push(wordOf(body[at] === 1 ? gunzipSync(bytes) : bytes));
    at = end;
  }
  return {
    status,
    type,
    encoding,
    initial: isTrailersOnly ? {} : initial,
    trailers: isTrailersOnly ? initial : trailers,
    messages,
    rstCode,
  };
}

describe("a client cannot tell the lane's streams from the adapter's", () => {
  test.each<[name: string, headers: Record<string, string>, body: Buffer | undefined]>([
    ["some frames", {}, Buffer.concat([frame("a"), frame("b"), frame("c")])],
    ["no frame at all", {}, undefined],
    ["an empty message", {}, grpcFrame(new Uint8Array())],
    ["metadata", {}, frame("metadata")],
    ["an answer that is worth compressing", { "grpc-accept-encoding": "gzip" }, frame("large")],
    ["an answer larger than any window", {}, frame("many")],
    ["compressed frames", { "grpc-encoding": "gzip" }, Buffer.concat([zipped("a"), frame("b"), zipped("c")])],
    ["a compressed frame of another coding", { "grpc-encoding": "br" }, frame("a")],
    ["a compressed frame that is none", { "grpc-encoding": "gzip" }, grpcFrame(Buffer.from("no gzip"), 1)],
    ["a compressed frame over the limit", { "grpc-encoding": "gzip" }, gzipFrame(Buffer.alloc(65 * 1024))],
    ["a compressed frame that is no message", { "grpc-encoding": "gzip" }, gzipFrame(Buffer.from([0xff]))],
    ["an error before anything was said", {}, frame("connect error")],
    ["an error behind something", {}, Buffer.concat([frame("a"), frame("connect error")])],
    ["a bug", {}, Buffer.concat([frame("a"), frame("bug")])],
    ["an end while the client still sends", {}, Buffer.concat([frame("leave"), frame("b"), frame("c")])],
    ["bytes that are no message", {}, grpcFrame(Buffer.from([0xff, 0xff]))],
    ["no message behind one", {}, Buffer.concat([frame("a"), grpcFrame(Buffer.from([0x0a, 0x7f]))])],
    ["a frame that is cut off", {}, frame("abcdef").subarray(0, 8)],
    ["a head that is cut off", {}, Buffer.concat([frame("a"), Buffer.from([0, 0])])],
    ["a message over the limit", {}, grpcFrame(Buffer.alloc(65 * 1024))],
    ["a compressed frame without an encoding", {}, Buffer.concat([Buffer.from([1]), frame("a").subarray(1)])],
    ["an unknown encoding", { "grpc-encoding": "zstd" }, frame("a")],
    ["a deadline that passes", { "grpc-timeout": "200m" }, frame("deadline")],
    ["a malformed deadline", { "grpc-timeout": "soon" }, frame("a")],
  ])("%s", async (name, more, body) => {
    const { lane, adapter, unexpected } = await sendBoth(both, more, body);
    expect(lane).toEqual(adapter);
    expect(unexpected).toEqual(name === "a bug" ? [1, 1] : [0, 0]);
  });

  test.each<[name: string, headers: Record<string, string>, body: Buffer | undefined]>([
    ["one question", {}, question("a")],
    ["no question", {}, undefined],
    ["two questions", {}, Buffer.concat([question("a"), question("b")])],
    ["a question and a piece", {}, Buffer.concat([question("a"), question("b").subarray(0, 6)])],
    ["a compressed question", { "grpc-encoding": "gzip" }, gzipFrame(question("a").subarray(5))],
    ["metadata", {}, question("metadata")],
    ["an answer larger than any window", {}, question("many")],
    ["an error", {}, question("connect error")],
    ["a bug", {}, question("bug")],
    ["bytes that are no message", {}, grpcFrame(Buffer.from([0xff, 0xff]))],
    ["a message over the limit", {}, grpcFrame(Buffer.alloc(65 * 1024))],
    ["a deadline that passes", { "grpc-timeout": "200m" }, question("deadline")],
  ])("with one question: %s", async (name, more, body) => {
    const { lane, adapter, unexpected } = await sendBoth(oneWay, more, body);
    expect(lane).toEqual(adapter);
    expect(unexpected).toEqual(name === "a bug" ? [1, 1] : [0, 0]);
  });
});

test("a stream in one-byte pieces is read like any other", async () => {
  const { url } = await useListener({ routes });
  const stream = useHttp2Session(url).request({ ":method": "POST", te: "trailers", ...headers });
  const chunks: Buffer[] = [];
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  for (const byte of Buffer.concat([frame("one"), frame("two")])) {
    stream.write(Buffer.from([byte]));
    await new Promise((resolve) => setImmediate(resolve));
  }
  stream.end();
  await new Promise((resolve) => stream.once("close", resolve));
  const response = { headers: {}, body: Buffer.concat(chunks), trailers: {}, rstCode: 0 };
  expect(asClientSees(response).messages).toEqual(["hello one", "hello two", "bye"]);
});

test("a client that leaves ends what its handler waits for", async () => {
  const left = Promise.withResolvers<unknown>();
  const waiting = createRoute(
    TaskStatusService,
    {
      async *trackRun(requests, context) {
        context.signal.addEventListener("abort", () => left.resolve(context.signal.reason));
        for await (const _ of requests) {
          yield {};
        }
      },
    },
    "known",
  );
  const { url } = await useListener({ routes: [waiting] });
  const session = useHttp2Session(url);
  const stream = session.request({ ":method": "POST", te: "trailers", ...headers });
  stream.on("error", () => undefined);
  stream.write(frame("a"));
  await new Promise((resolve) => stream.once("data", resolve));
  session.destroy();
  expect(await left.promise).toMatchObject({ code: Code.Canceled });
});

test("a handler whose client has left comes to its end", async () => {
  const ended = Promise.withResolvers<string>();
  const endless = createRoute(
    GatewayService,
    {
      async *watchDeliveries() {
        try {
          for (;;) {
            yield { delivery: { taskId: "x".repeat(10_000) } };
          }
        } finally {
          ended.resolve("ended");
        }
      },
    },
    "known",
  );
  const { url } = await useListener({ routes: [endless] });
  const session = useHttp2Session(url);
  const stream = session.request({ ":method": "POST", te: "trailers", ...headers, ":path": oneWay.path });
  stream.on("error", () => undefined);
  stream.end(question("a"));
  await once(stream, "response");
  session.destroy();
  expect(await ended.promise).toBe("ended");
});

test("a deadline that passes while an answer is compressed ends the call", async () => {
  const passed = Promise.withResolvers<void>();
  const large = createRoute(
    GatewayService,
    {
      async *watchDeliveries(_, context) {
        context.signal.addEventListener("abort", () => passed.resolve());
        yield { delivery: { taskId: "first" } };
        yield { delivery: { taskId: randomBytes(12_000_000).toString("base64") } };
      },
    },
    "public",
  );
  const { url } = await useListener({ routes: [large] });
  const session = useHttp2Session(url, { settings: { initialWindowSize: 0 } });
  const stream = session.request({
    ":method": "POST",
    te: "trailers",
    ...headers,
    ":path": oneWay.path,
    "grpc-accept-encoding": "gzip",
    "grpc-timeout": "150m",
  });
  stream.end(question("a"));
  stream.resume();
  const ended = once(stream, "trailers");
  await passed.promise;
  // Not before the answer is compressed: until then the end of the call can leave.
  await new Promise((resolve) => setTimeout(resolve, 1500));
  session.settings({ initialWindowSize: 100_000_000 });
  const [{ "grpc-status": status }] = (await ended) as [Record<string, unknown>];
  expect(status).toBe(String(Code.DeadlineExceeded));
});

test("messages that are not whole have one room for all, and give it back", async () => {
  const budget = createBodyBudget(100_000, tooManyUnfinishedBytes(100_000));
  const { url } = await useListener({ routes, bodyBudget: budget });
  const session = useHttp2Session(url);
  const half = () => {
    const stream = session.request({ ":method": "POST", te: "trailers", ...headers });
    stream.on("error", () => undefined);
    stream.write(grpcFrame(Buffer.alloc(60_000)).subarray(0, 59_000));
    return stream.resume();
  };
  const first = half();
  const hasRoom = (bytes: number) => {
    const isTaken = budget.take(bytes);
    budget.give(isTaken ? bytes : 0);
    return isTaken;
  };
  await expect.poll(() => hasRoom(50_000)).toBe(false);
  const second = half();
  const [trailers] = (await once(second, "response")) as [Record<string, unknown>];
  expect(trailers["grpc-status"]).toBe(String(Code.ResourceExhausted));
  first.close(8);
  await expect.poll(() => hasRoom(100_000)).toBe(true);
});

test("a message that does not get whole is given up", async () => {
  const { url } = await useListener({ routes, maxMessageMs: 100 });
  const session = useHttp2Session(url);
  const stream = session.request({ ":method": "POST", te: "trailers", ...headers });
  stream.write(Buffer.concat([frame("a"), frame("b").subarray(0, 6)]));
  stream.resume();
  const [trailers] = (await once(stream, "trailers")) as [Record<string, unknown>];
  expect(trailers["grpc-status"]).toBe(String(Code.DeadlineExceeded));
});
