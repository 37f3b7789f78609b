import { once } from "node:events";
import http2, { type ServerHttp2Stream } from "node:http2";
import net from "node:net";
import { buffer } from "node:stream/consumers";
import { expect, onTestFinished, test } from "vitest";
import { runLoad } from "../../bench/load-client.ts";

const path = "/test.v1.TestService/Test";
const empty = Buffer.alloc(5);

test("requests and answers beyond every flow-control window go through whole", async () => {
  const request = Buffer.alloc(300_000, "request");
  const answer = frame(Buffer.alloc(3_000_000, "answer"));
  const bodies: Buffer[] = [];
  const address = await useServer(
    async (stream) => {
      bodies.push(await buffer(stream));
      answerWith(stream, answer);
    },
    { initialWindowSize: 10_000 },
  );
  const result = await runLoad({
    address,
    path,
    request,
    durationMs: 10_000,
    maxCalls: 20,
    connections: 2,
    streams: 5,
  });
  expect(result.calls).toBe(20);
  expect(bodies).toHaveLength(20);
  expect(bodies.every((body) => body.equals(frame(request)))).toBe(true);
});

test("calls are begun until the time is over, and all of them are answered", async () => {
  let calls = 0;
  const address = await useServer((stream) => {
    calls += 1;
    answerWith(stream, empty);
  });
  const result = await runLoad({ address, path, request: new Uint8Array(), durationMs: 600 });
  expect(result.calls).toBe(calls);
  expect(calls).toBeGreaterThan(64);
  expect(result.elapsedMs).toBeGreaterThanOrEqual(600);
});

test.each<[string, (stream: ServerHttp2Stream) => void, RegExp]>([
  ["another status", (stream) => answerWith(stream, empty, { "grpc-status": "5" }), /grpc-status 0/],
  ["no status", (stream) => answerWith(stream, empty, { "x-other": "0" }), /grpc-status 0/],
  ["no message", (stream) => answerWith(stream, Buffer.alloc(0)), /not one whole message/],
  ["half a message", (stream) => answerWith(stream, frame(Buffer.alloc(9)).subarray(0, 9)), /not one whole/],
  ["two messages", (stream) => answerWith(stream, Buffer.concat([empty, empty])), /not one whole message/],
  ["no trailers", endWithoutTrailers, /without trailers/],
  ["a reset", (stream) => stream.close(http2.constants.NGHTTP2_REFUSED_STREAM), /reset a call with code 7/],
  ["a GOAWAY", (stream) => stream.session?.goaway(11), /GOAWAY with code 11/],
])("%s fails the run", async (_, onStream, expected) => {
  const address = await useServer(onStream);
  await expect(
    runLoad({ address, path, request: new Uint8Array(), durationMs: 5000, maxCalls: 1 }),
  ).rejects.toThrow(expected);
});

test("a server that hangs up fails the run", async () => {
  const server = net.createServer((socket) => socket.end());
  const address = await useListening(server);
  await expect(runLoad({ address, path, request: empty, durationMs: 5000 })).rejects.toThrow(/closed/);
});

async function useServer(
  onStream: (stream: ServerHttp2Stream) => void,
  settings: http2.Settings = {},
): Promise<string> {
  const server = http2.createServer({ settings });
  server.on("stream", (stream) => {
    stream.on("error", () => undefined);
    onStream(stream);
  });
  return useListening(server);
}

async function useListening(server: net.Server): Promise<string> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  const bound = server.address();
  return `127.0.0.1:${typeof bound === "object" ? bound?.port : ""}`;
}

function answerWith(
  stream: ServerHttp2Stream,
  body: Buffer,
  trailers: Record<string, string> = { "grpc-status": "0" },
): void {
  stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
  stream.once("wantTrailers", () => stream.sendTrailers(trailers));
  stream.end(body);
}

function endWithoutTrailers(stream: ServerHttp2Stream): void {
  stream.respond({ ":status": 200 });
  stream.end(empty);
}

function frame(message: Buffer): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}
