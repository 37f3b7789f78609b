import { once } from "node:events";
import http from "node:http";
import type http2 from "node:http2";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { describe, expect, onTestFinished, test } from "vitest";
import { TaskStatusService } from "../../gen/taskgate/v1/task_status_pb.ts";
import { createBodyBudget } from "../../src/listener/body-budget.ts";
import { createRoute } from "../../src/model/route.ts";
import { tooManyUnfinishedBytes } from "../../src/rpc/errors.ts";
import { grpcFrame } from "../support/grpc-frame.ts";
import { type RawResponse, sendRaw, useHttp2Session, useListener } from "../support/use-listener.ts";

const maxMessageBytes = 64 * 1024;
const gibibyte = 2 ** 30;
const unary = "/taskgate.v1.TaskStatusService/UpdateTask";
const stream = "/taskgate.v1.TaskStatusService/TrackRun";
const routes = [
  createRoute(
    TaskStatusService,
    {
      updateTask: () => ({ receipt: { deliveryId: "here" } }),
      async *trackRun(requests) {
        for await (const { requestId } of requests) {
          yield { requestId };
        }
      },
    },
    "known",
  ),
];

/** What a client sees that sends as much as it is let to, up to 1 GiB, and what it could send. */
async function sendEndlessly(
  session: http2.ClientHttp2Session,
  headers: http2.OutgoingHttpHeaders,
  start: Buffer,
): Promise<{ status: unknown; sentBytes: number }> {
  const call = session.request({ ":method": "POST", te: "trailers", ...headers });
  call.on("error", () => undefined);
  let status: unknown;
  let text = "";
  call.on("response", (received) => {
    status = received["grpc-status"] ?? status;
  });
  call.on("trailers", (received) => {
    status = received["grpc-status"] ?? status;
  });
  call.on("data", (chunk) => {
    text += chunk.toString("latin1");
  });
  const chunk = Buffer.alloc(64 * 1024);
  let sentBytes = start.length;
  const ended = new Promise((resolve) => call.once("close", resolve));
  call.write(start);
  while (!call.closed && !call.destroyed && sentBytes < gibibyte) {
    await Promise.race([new Promise((resolve) => call.write(chunk, () => resolve(undefined))), ended]);
    sentBytes += chunk.length;
  }
  await ended;
  return { status: status ?? /grpc-status: *(\d+)/.exec(text)?.[1] ?? text, sentBytes };
}

const grpc = { "content-type": "application/grpc" };
const web = { "content-type": "application/grpc-web" };

describe("S4 a message of 1 GiB is refused by its length, and hardly any of it is read", () => {
  test.each<[name: string, headers: http2.OutgoingHttpHeaders, fastLane: boolean]>([
    ["gRPC in the lane", { ...grpc, ":path": unary }, true],
    ["gRPC beside the lane", { ...grpc, ":path": unary }, false],
    ["a path that nobody serves", { ...grpc, ":path": "/nothing" }, true],
    ["a stream in the lane", { ...grpc, ":path": stream }, true],
    ["a stream beside the lane", { ...grpc, ":path": stream }, false],
    ["gRPC-Web", { ...web, ":path": unary }, true],
    ["a stream of gRPC-Web", { ...web, ":path": stream }, true],
  ])("%s", async (_, headers, fastLane) => {
    const { url, unexpected } = await useListener({ routes, fastLane, maxMessageBytes });
    const session = useHttp2Session(url);
    const started = sendEndlessly(session, headers, grpcFrame(new Uint8Array(), 0, gibibyte));
    const { status, sentBytes } = await started;
    expect(status).toBe(headers[":path"] === "/nothing" ? "12" : "8");
    // What the windows let through before the refusal arrived.
    expect(sentBytes).toBeLessThan(8 * 1024 * 1024);
    const other = await sendRaw(session, { ...grpc, ":path": unary }, grpcFrame(new Uint8Array()));
    expect(other.trailers).toEqual({ "grpc-status": "0" });
    expect(unexpected).toEqual([]);
  });

  test("a Connect body without a length, over HTTP/2", async () => {
    const { url } = await useListener({ routes, maxMessageBytes });
    const { status, sentBytes } = await sendEndlessly(
      useHttp2Session(url),
      { "content-type": "application/json", ":path": unary },
      Buffer.from("{"),
    );
    expect(status).toContain("resource_exhausted");
    expect(sentBytes).toBeLessThan(8 * 1024 * 1024);
  });

  test.each([{ "content-length": String(gibibyte) }, { "transfer-encoding": "chunked" }])(
    "a Connect body over HTTP/1.1 with %j",
    async (headers) => {
      const { url } = await useListener({ routes, maxMessageBytes });
      const request = http.request(`${url}${unary}`, {
        method: "POST",
        agent: false,
        headers: { "content-type": "application/json", ...headers },
      });
      onTestFinished(() => void request.destroy());
      request.on("error", () => undefined);
      let sentBytes = 0;
      let isOver = false;
      const answered = once(request, "response").then(([response]) => {
        isOver = true;
        return response.statusCode;
      });
      const chunk = Buffer.alloc(64 * 1024, " ");
      void (async () => {
        while (!isOver && !request.destroyed) {
          await new Promise((resolve) => request.write(chunk, resolve));
          sentBytes += chunk.length;
        }
      })();
      expect(await answered).toBe(429);
      expect(sentBytes).toBeLessThan(64 * 1024 * 1024);
    },
  );
});

describe("S4 a message that becomes large by decompression", () => {
  const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024));
  const encodings = { "grpc-encoding": "gzip" };

  test.each<[name: string, headers: http2.OutgoingHttpHeaders, body: Buffer]>([
    ["gRPC", { ...grpc, ...encodings, ":path": unary }, grpcFrame(bomb, 1)],
    ["a stream", { ...grpc, ...encodings, ":path": stream }, grpcFrame(bomb, 1)],
    ["gRPC-Web", { ...web, ...encodings, ":path": unary }, grpcFrame(bomb, 1)],
    ["Connect", { "content-type": "application/proto", "content-encoding": "gzip", ":path": unary }, bomb],
    [
      "Connect in Brotli",
      { "content-type": "application/proto", "content-encoding": "br", ":path": unary },
      brotliCompressSync(Buffer.alloc(64 * 1024 * 1024)),
    ],
  ])("is refused: %s", async (_, headers, body) => {
    const { url, unexpected } = await useListener({ routes, maxMessageBytes: 4 * 1024 * 1024 });
    const response = await sendRaw(useHttp2Session(url), headers, body);
    expect(statusOf(response)).toBe("8");
    expect(unexpected).toEqual([]);
  });

  test("is refused by its ratio before it is as large as a message may be", async () => {
    const { url } = await useListener({ routes, maxMessageBytes: 4 * 1024 * 1024, maxExpansion: 20 });
    const session = useHttp2Session(url);
    const headers = { ...grpc, ...encodings, ":path": unary };
    const response = await sendRaw(session, headers, grpcFrame(gzipSync(Buffer.alloc(3 * 1024 * 1024)), 1));
    expect(statusOf(response)).toBe("8");
    expect(String(response.headers["grpc-message"] ?? response.trailers["grpc-message"])).toContain(
      "20%20times",
    );
    // A small one may be of one letter only.
    const small = await sendRaw(session, headers, grpcFrame(gzipSync(Buffer.alloc(0)), 1));
    expect(statusOf(small)).toBe("0");
  });
});

function statusOf({ headers, trailers, body }: RawResponse): unknown {
  const text = body.toString("latin1");
  const connectCode = text.includes('"resource_exhausted"') ? "8" : undefined;
  return (
    trailers["grpc-status"] ??
    headers["grpc-status"] ??
    /grpc-status: *(\d+)/.exec(text)?.[1] ??
    connectCode ??
    text
  );
}

describe("S4 S7 half a message of a stream beside the lane", () => {
  const headers = { ...web, ":path": stream, ":method": "POST" };

  test("is ended when its rest does not come in time", async () => {
    const { url } = await useListener({ routes, maxMessageMs: 200 });
    const call = useHttp2Session(url).request(headers);
    call.on("error", () => undefined);
    let text = "";
    call.on("data", (chunk) => {
      text += chunk.toString("latin1");
    });
    // A whole one first: its time is not counted.
    call.write(Buffer.concat([grpcFrame(new Uint8Array()), Buffer.from([0, 0])]));
    const drip = setInterval(() => call.write(Buffer.from([0])), 100);
    onTestFinished(() => clearInterval(drip));
    await new Promise((resolve) => call.once("close", resolve));
    expect(text).toMatch(/grpc-status: *4/);
  });

  test("holds no more than there is room for", async () => {
    const { url } = await useListener({
      routes,
      bodyBudget: createBodyBudget(40_000, tooManyUnfinishedBytes(40_000)),
    });
    const session = useHttp2Session(url);
    const half = Buffer.concat([grpcFrame(new Uint8Array(), 0, 60_000), Buffer.alloc(30_000)]);
    const first = session.request(headers);
    first.on("error", () => undefined);
    // Whole messages take no room once they are passed on.
    for (let index = 0; index < 10; index += 1) {
      first.write(grpcFrame(new Uint8Array()));
    }
    first.write(half);
    let answerBytes = 0;
    await new Promise<void>((resolve) =>
      first.on("data", (chunk: Buffer) => {
        answerBytes += chunk.length;
        if (answerBytes === 10 * grpcFrame(new Uint8Array()).length) {
          resolve();
        }
      }),
    );
    await new Promise((resolve) => session.ping(resolve));
    const refused = await sendRaw(session, headers, half);
    expect(refused.body.toString("latin1")).toMatch(/grpc-status: *8.*taskgate-reason: *TOO_MANY_SESSIONS/s);
    const closed = new Promise((resolve) => first.once("close", resolve));
    first.close(8);
    await closed;
    await expect
      .poll(async () => (await sendRaw(session, headers, half)).body.toString("latin1"))
      .toMatch(/grpc-status: *3/);
  });
});
