import { once } from "node:events";
import net from "node:net";
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, onTestFinished, test } from "vitest";
import { Health } from "../../gen/grpc/health/v1/health_pb.ts";
import { TaskStatusService } from "../../gen/taskgate/v1/task_status_pb.ts";
import { createCallPlaces } from "../../src/listener/call-places.ts";
import { createRoute } from "../../src/model/route.ts";
import { tooManyCalls } from "../../src/rpc/errors.ts";
import { grpcFrame } from "../support/grpc-frame.ts";
import { http2Frame, http2Headers, http2Opening } from "../support/http2-frame.ts";
import { type RawResponse, sendRaw, useHttp2Session, useListener } from "../support/use-listener.ts";

const unary = { ":path": "/taskgate.v1.TaskStatusService/UpdateTask", "content-type": "application/grpc" };
const empty = grpcFrame(new Uint8Array());

// The calls of one stay until they are released.
function useSlow() {
  const releases: (() => void)[] = [];
  const wait = () => new Promise<void>((resolve) => releases.push(resolve));
  const routes = [
    createRoute(
      TaskStatusService,
      {
        async updateTask() {
          await wait();
          return {};
        },
        async *trackRun() {
          await wait();
          yield {};
        },
      },
      "known",
    ),
    createRoute(Health, { check: () => wait().then(() => ({})) }, "public"),
  ];
  return { routes, releases };
}

function statusOf({ headers, trailers, body }: RawResponse): unknown {
  const text = body.toString("latin1");
  return trailers["grpc-status"] ?? headers["grpc-status"] ?? /grpc-status: *(\d+)/.exec(text)?.[1] ?? text;
}

const kinds = [
  ["gRPC", "application/grpc", true],
  ["gRPC beside the lane", "application/grpc", false],
  ["gRPC-Web", "application/grpc-web", true],
] as const;

describe("S6 calls under way have one number of places over all connections", () => {
  test.each(kinds)("%s", async (_, type, fastLane) => {
    const { routes, releases } = useSlow();
    const calls = createCallPlaces(2, tooManyCalls(2));
    const { url } = await useListener({ routes, calls, fastLane });
    const send = (path: string) =>
      sendRaw(useHttp2Session(url), { ":path": path, "content-type": type }, empty);
    const underWay = [unary[":path"], "/taskgate.v1.TaskStatusService/TrackRun"].map(send);
    await expect.poll(() => releases.length).toBe(2);
    for (let count = 0; count < 2; count += 1) {
      const refused = await send(unary[":path"]);
      expect(statusOf(refused)).toBe(String(Code.ResourceExhausted));
      const all = JSON.stringify([refused.headers, refused.trailers, refused.body.toString("latin1")]);
      expect(all).toContain("TOO_MANY_SESSIONS");
    }
    for (const release of releases) {
      release();
    }
    expect((await Promise.all(underWay)).map(statusOf)).toEqual(["0", "0"]);
    const next = send(unary[":path"]);
    await expect.poll(() => releases.length).toBe(3);
    releases[2]?.();
    expect(statusOf(await next)).toBe("0");
  });

  test.each(kinds)("%s: those that need no token have a tenth of it", async (_, type, fastLane) => {
    const { routes, releases } = useSlow();
    const calls = createCallPlaces(10, tooManyCalls(10));
    const { url } = await useListener({ routes, calls, fastLane });
    const session = useHttp2Session(url);
    const send = (path: string) => sendRaw(session, { ":path": path, "content-type": type }, empty);
    const check = "/grpc.health.v1.Health/Check";
    const underWay = send(check);
    await expect.poll(() => releases.length).toBe(1);
    expect(statusOf(await send(check))).toBe("8");
    const known = send(unary[":path"]);
    await expect.poll(() => releases.length).toBe(2);
    for (const release of releases) {
      release();
    }
    expect((await Promise.all([underWay, known])).map(statusOf)).toEqual(["0", "0"]);
  });

  test("and give it back however they end", async () => {
    let taken = 0;
    let most = 0;
    const calls = {
      take() {
        taken += 1;
        most = Math.max(most, taken);
      },
      give() {
        taken -= 1;
      },
    };
    const { routes, releases } = useSlow();
    const { url } = await useListener({ routes, calls });
    const connect = async () => {
      const socket = net.connect(Number(new URL(url).port), "127.0.0.1");
      onTestFinished(() => void socket.destroy());
      socket.on("error", () => undefined);
      await once(socket, "connect");
      return socket;
    };
    const http2 = await connect();
    http2.write(http2Opening);
    for (let id = 1; id < 40; id += 2) {
      const type = id % 4 === 1 ? "application/grpc" : "application/grpc-web";
      const head = http2Headers(id, { ...unary, "content-type": type });
      const reset = http2Frame("RST_STREAM", id, Buffer.from([0, 0, 0, 8]));
      http2.write(
        Buffer.concat([head, http2Frame("DATA", id, empty, 1), id % 3 === 0 ? reset : Buffer.alloc(0)]),
      );
    }
    const http1 = await connect();
    // Ahead of their answers.
    const call = `POST ${unary[":path"]} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}`;
    http1.write(call.repeat(15));
    await expect.poll(() => releases.length).toBeGreaterThan(25);
    expect(most).toBeGreaterThan(25);
    http2.destroy();
    http1.destroy();
    await expect.poll(() => taken).toBe(0);
  });

  test("and a refused one takes none", async () => {
    const { routes } = useSlow();
    const calls = createCallPlaces(1, tooManyCalls(1));
    let mayCall = false;
    const admit = () => {
      if (!mayCall) {
        throw new ConnectError("no", Code.Unauthenticated);
      }
    };
    const { url } = await useListener({ routes, calls, admit });
    const session = useHttp2Session(url);
    for (const type of ["application/grpc", "application/grpc-web"]) {
      const stream = session.request({ ":method": "POST", ...unary, "content-type": type });
      stream.on("error", () => undefined);
      stream.write(empty.subarray(0, 2));
      await once(stream.resume(), "response");
    }
    mayCall = true;
    calls.take(false);
    expect(() => calls.take(false)).toThrow();
  });
});
