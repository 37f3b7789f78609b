import { gunzipSync, gzipSync } from "node:zlib";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import {
  TaskStatusService,
  type UpdateTaskRequest,
  UpdateTaskRequestSchema,
  UpdateTaskResponseSchema,
} from "../../gen/taskgate/v1/task_status_pb.ts";
import { createFailure } from "../../src/model/failure.ts";
import { createRoute } from "../../src/model/route.ts";
import { errorFromFailure } from "../../src/rpc/errors.ts";
import { grpcFrame, gzipFrame } from "../support/grpc-frame.ts";
import { type RawResponse, sendRaw, useHttp2Session, useListener } from "../support/use-listener.ts";

const path = "/taskgate.v1.TaskStatusService/UpdateTask";
const plainHeaders = { ":path": path, "content-type": "application/grpc" };

// Does what the message of the request says.
async function behave(request: UpdateTaskRequest, context: HandlerContext) {
  switch (request.message) {
    case "metadata":
      context.responseHeader.set("x-initial", "one");
      context.responseHeader.append("x-initial", "two");
      context.responseHeader.set("x-initial-bin", "AAEC");
      context.responseTrailer.set("x-trailing", "three");
      context.responseTrailer.set("x-trailing-bin", "AwQF");
      break;
    case "echo metadata":
      // The adapter is told of the deadline by a header.
      context.requestHeader.delete("grpc-timeout");
      return answer(JSON.stringify([...context.requestHeader].sort()));
    case "large":
      return answer("x".repeat(100_000));
    case "connect error":
      throw new ConnectError("a message: with / reserved & ünïcode", Code.Aborted, { "x-error": "yes" });
    case "detailed error":
      throw errorFromFailure(
        createFailure(ErrorReason.OUTBOX_FULL, "full", { metadata: { a: "b" }, retryAfterMs: 1500 }),
        [{ field: "f", description: "d" }],
      );
    case "metadata, then error":
      context.responseHeader.set("x-initial", "one");
      context.responseTrailer.set("x-trailing", "three");
      throw new ConnectError("after metadata", Code.DataLoss);
    case "bug":
      throw new Error("a secret detail");
    case "deadline":
      await new Promise((resolve) => context.signal.addEventListener("abort", resolve));
      throw ConnectError.from(context.signal.reason);
    case "time left":
      return answer(String(Math.ceil((context.timeoutMs() ?? 0) / 1000)));
    default:
      break;
  }
  return answer(`hello ${request.message}`);
}

function answer(deliveryId: string) {
  return { receipt: { deliveryId } };
}

function message(text: string): Uint8Array {
  return toBinary(UpdateTaskRequestSchema, create(UpdateTaskRequestSchema, { message: text }));
}

function call(text: string): Buffer {
  return grpcFrame(message(text));
}

async function sendBoth(headers: Record<string, string>, body: Buffer | undefined) {
  const routes = [createRoute(TaskStatusService, { updateTask: behave }, "known")];
  const responses: RawResponse[] = [];
  for (const fastLane of [true, false]) {
    const { url } = await useListener({ routes, fastLane });
    responses.push(await sendRaw(useHttp2Session(url), { ...plainHeaders, ...headers }, body));
  }
  const [lane, adapter] = responses;
  if (lane === undefined || adapter === undefined) {
    throw new Error("there must be two responses");
  }
  return { lane, adapter };
}

// A response that is only trailers comes in one block of headers in the lane and
// in two in the adapter; a gRPC client sees the same.
function asClientSees({ headers, body, trailers, rstCode }: RawResponse) {
  const { ":status": status, "content-type": type, "grpc-encoding": encoding, ...initial } = headers;
  const isTrailersOnly = "grpc-status" in headers;
  return {
    status,
    type,
    encoding,
    initial: isTrailersOnly ? {} : initial,
    trailers: isTrailersOnly ? initial : trailers,
    body: String(type).endsWith("json") ? body.toString() : decodeFrames(body),
    rstCode,
  };
}

function decodeFrames(body: Buffer): unknown {
  if (body.length === 0) {
    return undefined;
  }
  const bytes = body.subarray(5, 5 + body.readUInt32BE(1));
  return {
    isCompressed: body[0] === 1,
    rest: body.length - 5 - bytes.length,
    message: fromBinary(UpdateTaskResponseSchema, body[0] === 1 ? gunzipSync(bytes) : bytes),
  };
}

describe("a client cannot tell the fast lane from the adapter", () => {
  test.each<[name: string, headers: Record<string, string>, body: Buffer | undefined]>([
    ["a plain call", {}, call("world")],
    ["an empty message", {}, grpcFrame(new Uint8Array())],
    ["application/grpc+proto", { "content-type": "application/grpc+proto" }, call("world")],
    ["application/grpc+json", { "content-type": "application/grpc+json" }, grpcFrame(Buffer.from("{}"))],
    ["an unknown subtype", { "content-type": "application/grpc+thrift" }, call("world")],
    ["response metadata", {}, call("metadata")],
    ["request metadata", { "x-a": "1", "x-b-bin": "AAEC", "x-c": "ü" }, call("echo metadata")],
    ["a large response, not accepting gzip", {}, call("large")],
    ["a large response, accepting gzip", { "grpc-accept-encoding": "identity,deflate,gzip" }, call("large")],
    ["a small response, accepting gzip", { "grpc-accept-encoding": "gzip" }, call("world")],
    ["a compressed request", { "grpc-encoding": "gzip" }, gzipFrame(message("world"))],
    ["a request that could be compressed and is not", { "grpc-encoding": "gzip" }, call("world")],
    ["identity", { "grpc-encoding": "identity", "grpc-accept-encoding": "identity" }, call("world")],
    ["a compressed flag without an encoding", {}, gzipFrame(message("world"))],
    ["compressed bytes that are none", { "grpc-encoding": "gzip" }, grpcFrame(Buffer.from("nonsense"), 1)],
    ["a brotli request", { "grpc-encoding": "br" }, grpcFrame(message("world"), 1)],
    ["an unknown encoding", { "grpc-encoding": "snappy" }, grpcFrame(message("world"), 1)],
    ["a bomb", { "grpc-encoding": "gzip" }, gzipFrame(Buffer.alloc(10_000_000))],
    ["a message at the limit", {}, call("x".repeat(64 * 1024 - 4))],
    ["a message over the limit", {}, call("x".repeat(64 * 1024))],
    ["a length that lies over the limit", {}, grpcFrame(message("world"), 0, 0xffffffff)],
    ["a message that is cut off", {}, grpcFrame(message("world"), 0, 1000)],
    ["a head that is cut off", {}, Buffer.from([0, 0, 0])],
    ["no body", {}, undefined],
    ["two messages", {}, Buffer.concat([call("world"), call("again")])],
    ["bytes behind the message", {}, Buffer.concat([call("world"), Buffer.from([1, 2, 3])])],
    ["no protobuf", {}, grpcFrame(Buffer.from([0xff, 0xff, 0xff, 0xff]))],
    ["text that is no UTF-8", {}, grpcFrame(Buffer.from([0x22, 0x02, 0xc3, 0x28]))],
    ["an error of Connect", {}, call("connect error")],
    ["an error with details", {}, call("detailed error")],
    ["an error after metadata", {}, call("metadata, then error")],
    ["an error, accepting gzip", { "grpc-accept-encoding": "gzip" }, call("detailed error")],
    ["a bug", {}, call("bug")],
    ["a deadline that passes", { "grpc-timeout": "50m" }, call("deadline")],
    ["a deadline that is granted", { "grpc-timeout": "5S" }, call("time left")],
    ["a deadline that is cut", { "grpc-timeout": "1H" }, call("time left")],
    ["no deadline", {}, call("time left")],
    ["a malformed deadline", { "grpc-timeout": "soon" }, call("world")],
    ["a deadline with too many digits", { "grpc-timeout": "123456789S" }, call("world")],
    ["another HTTP method", { ":method": "PUT" }, call("world")],
    ["an unknown method", { ":path": "/taskgate.v1.TaskStatusService/Nothing" }, call("world")],
    ["a method without an implementation", { ":path": "/taskgate.v1.TaskStatusService/SendLog" }, call("")],
    ["a path with a query", { ":path": `${path}?a=b` }, call("world")],
  ])("%s", async (_, headers, body) => {
    const { lane, adapter } = await sendBoth(headers, body);
    expect(asClientSees(lane)).toEqual(asClientSees(adapter));
    expect(lane.headers[":status"]).toBeDefined();
  });

  test("the calls of this table do not all end alike", async () => {
    const { lane: good } = await sendBoth({}, call("world"));
    const { lane: bad } = await sendBoth({}, call("connect error"));
    expect(asClientSees(good)).toMatchObject({
      trailers: { "grpc-status": "0" },
      body: { message: { receipt: { deliveryId: "hello world" } } },
    });
    expect(asClientSees(bad)).toMatchObject({
      trailers: { "grpc-status": "10", "x-error": "yes" },
      body: undefined,
    });
  });
});

test("a body in one-byte pieces is read like any other", async () => {
  const routes = [createRoute(TaskStatusService, { updateTask: behave }, "known")];
  const { url } = await useListener({ routes });
  const stream = useHttp2Session(url).request({ ":method": "POST", ...plainHeaders });
  for (const byte of call("world")) {
    stream.write(Buffer.from([byte]));
    await new Promise((resolve) => setImmediate(resolve));
  }
  stream.end();
  const chunks: Buffer[] = [];
  for await (const chunk of stream) {
    chunks.push(chunk);
  }
  expect(decodeFrames(Buffer.concat(chunks))).toMatchObject({
    message: { receipt: { deliveryId: "hello world" } },
  });
});

test.each([true, false])("a caller who leaves ends the handler's signal (fast lane %s)", async (fastLane) => {
  const aborted = Promise.withResolvers<unknown>();
  const begun = Promise.withResolvers<void>();
  const routes = [
    createRoute(
      TaskStatusService,
      {
        async updateTask(_, { signal }) {
          begun.resolve();
          await new Promise((resolve) => signal.addEventListener("abort", resolve));
          aborted.resolve(ConnectError.from(signal.reason).code);
          throw signal.reason;
        },
      },
      "known",
    ),
  ];
  const { url } = await useListener({ routes, fastLane });
  const stream = useHttp2Session(url).request({ ":method": "POST", ...plainHeaders });
  stream.on("error", () => undefined);
  stream.end(call("world"));
  await begun.promise;
  stream.close(8);
  expect(await aborted.promise).toBe(Code.Canceled);
});

test("a bug is told once, and its text stays inside", async () => {
  const routes = [createRoute(TaskStatusService, { updateTask: behave }, "known")];
  for (const fastLane of [true, false]) {
    const { url, unexpected } = await useListener({ routes, fastLane });
    const response = await sendRaw(useHttp2Session(url), plainHeaders, call("bug"));
    expect(JSON.stringify(asClientSees(response))).not.toContain("secret");
    expect(unexpected).toEqual([new Error("a secret detail")]);
  }
});

test("the lane serves what it says it serves", async () => {
  // gzipSync stands for a client whose compressor is not the server's own.
  const routes = [createRoute(TaskStatusService, { updateTask: behave }, "known")];
  const { url } = await useListener({ routes });
  const response = await sendRaw(
    useHttp2Session(url),
    { ...plainHeaders, "grpc-encoding": "gzip" },
    grpcFrame(gzipSync(message("world"), { level: 9 }), 1),
  );
  expect(decodeFrames(response.body)).toMatchObject({
    message: { receipt: { deliveryId: "hello world" } },
  });
});
