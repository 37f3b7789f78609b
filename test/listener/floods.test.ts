import { once } from "node:events";
import net from "node:net";
import { setImmediate as nextTurn } from "node:timers/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, onTestFinished, test } from "vitest";
import { Health } from "../../gen/grpc/health/v1/health_pb.ts";
import { TaskStatusService } from "../../gen/taskgate/v1/task_status_pb.ts";
import { createRoute } from "../../src/model/route.ts";
import { grpcFrame } from "../support/grpc-frame.ts";
import { http2Frame, http2Headers, http2Opening } from "../support/http2-frame.ts";
import { sendRaw, useHttp2Session, useListener } from "../support/use-listener.ts";

const path = "/taskgate.v1.TaskStatusService/UpdateTask";
const routes = [
  createRoute(TaskStatusService, { updateTask: () => ({ receipt: { deliveryId: "here" } }) }, "known"),
];
const head = { ":path": path, "content-type": "application/grpc" };
const emptyCall = grpcFrame(new Uint8Array());

// Unlike `once`, whatever error went before.
function closeOf(socket: net.Socket): Promise<void> {
  return new Promise((resolve) => socket.once("close", () => resolve()));
}

interface Attacker {
  write(bytes: Buffer): void;
  /** The code and the words of the GOAWAY that ended it; `undefined`: none came before the end. */
  ended: Promise<{ code: number; words: string } | undefined>;
  isOpen(): boolean;
  /** How many calls were answered to their end. */
  answered(): number;
}

/** A connection that sends whatever it wants, and reads what comes back. */
async function useAttacker(url: string): Promise<Attacker> {
  const socket = net.connect(Number(new URL(url).port), "127.0.0.1").setNoDelay(true);
  onTestFinished(() => void socket.destroy());
  socket.on("error", () => undefined);
  await once(socket, "connect");
  let rest = Buffer.alloc(0);
  let goAway: { code: number; words: string } | undefined;
  let answers = 0;
  socket.on("data", (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 9 && rest.length >= 9 + rest.readUIntBE(0, 3)) {
      const end = 9 + rest.readUIntBE(0, 3);
      if (rest.readUInt8(3) === 7) {
        goAway ??= { code: rest.readUInt32BE(13), words: rest.subarray(17, end).toString() };
      }
      answers += rest.readUInt8(3) === 1 && (rest.readUInt8(4) & 1) === 1 ? 1 : 0;
      rest = rest.subarray(end);
    }
  });
  const ended = closeOf(socket).then(() => goAway);
  socket.write(http2Opening);
  return {
    write: (bytes) => void socket.write(bytes),
    ended,
    isOpen: () => !socket.destroyed,
    answered: () => answers,
  };
}

/** Sends the same bytes again and again, a turn of the event loop apart, until the connection ends. */
async function sendUntilEnded(attacker: Attacker, next: (round: number) => Buffer, maxRounds = 200_000) {
  let round = 0;
  for (; attacker.isOpen() && round < maxRounds; round += 1) {
    attacker.write(next(round));
    await nextTurn();
  }
  return { rounds: round, end: await attacker.ended };
}

function times(count: number, bytes: Buffer): Buffer {
  return Buffer.concat(Array<Buffer>(count).fill(bytes));
}

const noError = 0;
const enhanceYourCalm = 11;

describe("S5 an HTTP/2 connection is cut off, and others are served, when it sends too many", () => {
  const ping = http2Frame("PING", 0, Buffer.alloc(8));
  const windowUpdate = http2Frame("WINDOW_UPDATE", 0, Buffer.from([0, 0, 0, 1]));
  const limits = {
    maxPingsPerMinute: 50,
    maxSettingsPerMinute: 50,
    maxResetsPerMinute: 50,
    maxControlBytesPerMinute: 64 * 1024,
  };

  async function useVictim() {
    const cutOff: string[] = [];
    const { url, unexpected } = await useListener(
      { routes },
      { limits, onCutOff: (why) => cutOff.push(why) },
    );
    const honest = useHttp2Session(url);
    onTestFinished(async () => {
      const response = await sendRaw(honest, head, emptyCall);
      expect(response.trailers).toEqual({ "grpc-status": "0" });
      expect(unexpected).toEqual([]);
    });
    return { attacker: await useAttacker(url), cutOff };
  }

  test("PINGs", async () => {
    const { attacker, cutOff } = await useVictim();
    const { rounds, end } = await sendUntilEnded(attacker, () => ping);
    expect(end).toEqual({ code: enhanceYourCalm, words: "too_many_pings" });
    expect(rounds).toBeGreaterThan(limits.maxPingsPerMinute);
    expect(cutOff).toEqual(["too_many_pings"]);
  });

  test("SETTINGS", async () => {
    const { attacker, cutOff } = await useVictim();
    const { end } = await sendUntilEnded(attacker, () => http2Frame("SETTINGS", 0, Buffer.alloc(0)));
    expect(end).toEqual({ code: enhanceYourCalm, words: "it sent too many SETTINGS" });
    expect(cutOff).toEqual(["it sent too many SETTINGS"]);
  });

  test.each<[what: string, frame: Buffer]>([
    ["WINDOW_UPDATEs", windowUpdate],
    ["WINDOW_UPDATEs of a stream", http2Frame("WINDOW_UPDATE", 1, Buffer.from([0, 0, 0, 1]))],
    ["empty DATA", http2Frame("DATA", 1, Buffer.alloc(0))],
    ["padding", http2Frame("DATA", 1, Buffer.from([200, ...Buffer.alloc(200)]), 8)],
    ["PRIORITY", http2Frame("PRIORITY", 1, Buffer.from([0, 0, 0, 0, 1]))],
    ["frames of an unknown type", http2Frame("UNKNOWN", 0, Buffer.alloc(100))],
    ["acknowledgements of PINGs", http2Frame("PING", 0, Buffer.alloc(8), 1)],
  ])("%s", async (_, frame) => {
    const { attacker, cutOff } = await useVictim();
    attacker.write(http2Headers(1, head));
    const { end } = await sendUntilEnded(attacker, () => times(50, frame));
    // nghttp2 has rules of its own for some of them.
    expect(end?.code).not.toBe(noError);
    expect(cutOff.length).toBeLessThanOrEqual(1);
  });

  test("calls that it cancels at once (rapid reset)", async () => {
    const { attacker } = await useVictim();
    const { rounds, end } = await sendUntilEnded(attacker, (round) => {
      const id = 2 * round + 1;
      return Buffer.concat([http2Headers(id, head), http2Frame("RST_STREAM", id, Buffer.from([0, 0, 0, 8]))]);
    });
    expect(end?.code).not.toBe(noError);
    expect(rounds).toBeGreaterThan(limits.maxResetsPerMinute / 3);
  });

  test("CONTINUATIONs", async () => {
    const { attacker } = await useVictim();
    attacker.write(http2Frame("HEADERS", 1, Buffer.alloc(0)));
    const literal = Buffer.from([0, 1, 0x61, 1, 0x62]);
    const { rounds } = await sendUntilEnded(attacker, () => http2Frame("CONTINUATION", 1, literal));
    expect(rounds).toBeLessThan(10_000);
  });

  test("header fields out of few bytes (HPACK bomb)", async () => {
    const { attacker } = await useVictim();
    // One entry of 4,000 bytes in the table, then a byte for each time that it is meant.
    const entry = Buffer.concat([
      Buffer.from([0x40, 1, 0x78, 0x7f, 0xa1, 0x1e]),
      Buffer.alloc(127 + 0x21 + 0x1e * 128, 0x61),
    ]);
    const { end } = await sendUntilEnded(attacker, (round) =>
      http2Frame("HEADERS", 2 * round + 1, round === 0 ? entry : times(4000, Buffer.from([0xbe])), 5),
    );
    expect(end?.code).not.toBe(noError);
  });
});

test("S5 whoever was cut off waits with the next connection, and nobody else does with a call", async () => {
  const { url } = await useListener({ routes }, { limits: { maxPingsPerMinute: 5, maxPenaltyMs: 400 } });
  const honest = useHttp2Session(url);
  await sendRaw(honest, head, emptyCall);
  for (let count = 0; count < 4; count += 1) {
    const attacker = await useAttacker(url);
    await sendUntilEnded(attacker, () => http2Frame("PING", 0, Buffer.alloc(8)));
  }
  const startMs = performance.now();
  const late = sendRaw(useHttp2Session(url), head, emptyCall);
  let isAnswered = false;
  void late.then(() => {
    isAnswered = true;
  });
  await sendRaw(honest, head, emptyCall);
  expect(isAnswered).toBe(false);
  expect((await late).trailers).toEqual({ "grpc-status": "0" });
  // A timer may be a little early.
  expect(performance.now() - startMs).toBeGreaterThan(390);
});

describe("S5 what honest clients do is no flood", () => {
  test("a stream of messages byte by byte, and a PING behind each answer", async () => {
    const cutOff: string[] = [];
    const { url } = await useListener(
      { routes },
      {
        limits: { maxPingsPerMinute: 5, maxControlBytesPerMinute: 16 * 1024 },
        onCutOff: (why) => cutOff.push(why),
      },
    );
    const session = useHttp2Session(url);
    for (let call = 0; call < 200; call += 1) {
      const response = await sendRaw(session, head, emptyCall);
      expect(response.trailers).toEqual({ "grpc-status": "0" });
      await new Promise((resolve) => session.ping(resolve));
    }
    const attacker = await useAttacker(url);
    attacker.write(http2Headers(1, head));
    for (let byte = 0; byte < 20_000; byte += 1) {
      attacker.write(http2Frame("DATA", 1, Buffer.from([byte === 3 ? 0x7f : 0])));
    }
    await new Promise((resolve) => session.ping(resolve));
    expect(cutOff).toEqual([]);
  });
});

test("a client of grpc-go that leaves by a GOAWAY with any stream's number was not cut off", async () => {
  const cutOff: string[] = [];
  const { url } = await useListener({ routes }, { onCutOff: (why) => cutOff.push(why) });
  const client = await useAttacker(url);
  client.write(Buffer.concat([http2Headers(1, head), http2Frame("DATA", 1, emptyCall, 1)]));
  await expect.poll(client.answered).toBe(1);
  // The server must have closed the stream as well.
  await nextTurn();
  client.write(http2Frame("GOAWAY", 0, Buffer.from([0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0])));
  expect((await client.ended)?.code).toBe(1);
  expect(cutOff).toEqual([]);
});

test("S5 what a client sends behind a refusal that it has not heard yet is no flood", async () => {
  const cutOff: string[] = [];
  const refuse = () => {
    throw new ConnectError("no", Code.Unauthenticated);
  };
  const { url } = await useListener(
    { routes, admit: refuse },
    { limits: { maxControlBytesPerMinute: 16 * 1024 }, onCutOff: (why) => cutOff.push(why) },
  );
  const client = await useAttacker(url);
  const other = useHttp2Session(url);
  for (let id = 1; id < 20; id += 2) {
    client.write(http2Headers(id, head));
    // The refusal leaves before the rest comes.
    await sendRaw(other, head, emptyCall);
    client.write(times(6, http2Frame("DATA", id, Buffer.alloc(16_384))));
    await new Promise((resolve) => other.ping(resolve));
  }
  // So that the watch has looked.
  await new Promise((resolve) => setTimeout(resolve, 250));
  expect(cutOff).toEqual([]);
  expect(client.isOpen()).toBe(true);
});

describe("S6 S7 a connection that begins and goes on in silence is closed", () => {
  test("with the first line of HTTP/2 only", async () => {
    const { url } = await useListener({ routes }, { limits: { firstByteTimeoutMs: 100 } });
    const socket = net.connect(Number(new URL(url).port), "127.0.0.1");
    socket.on("error", () => undefined);
    socket.resume();
    socket.write("PRI * HTTP/2.0\r\n");
    await closeOf(socket);
  });

  test("with a byte of that line at a time", async () => {
    const { url } = await useListener({ routes }, { limits: { firstByteTimeoutMs: 200 } });
    const socket = net.connect(Number(new URL(url).port), "127.0.0.1");
    socket.on("error", () => undefined);
    socket.resume();
    const line = [..."PRI * HTTP/2.0\r"];
    // Without an end it would take three times as long.
    const drip = setInterval(() => line.length > 0 && socket.write(line.shift() ?? ""), 100);
    onTestFinished(() => clearInterval(drip));
    await closeOf(socket);
    expect(line.length).toBeGreaterThan(0);
  });

  test("with a byte of HTTP/1.1 at a time", async () => {
    const { url } = await useListener({ routes }, { limits: { firstByteTimeoutMs: 300 } });
    const socket = net.connect(Number(new URL(url).port), "127.0.0.1");
    socket.on("error", () => undefined);
    let answer = "";
    socket.on("data", (chunk) => {
      answer += chunk;
    });
    socket.write("GET / HTTP/1.1\r\nx: ");
    const drip = setInterval(() => socket.write("x"), 10);
    onTestFinished(() => clearInterval(drip));
    await closeOf(socket);
    expect(answer).toMatch(/^HTTP\/1.1 408 /);
  });

  test("without a call for the idle time: it is asked to leave, and what is under way is answered", async () => {
    const release = Promise.withResolvers<void>();
    const slow = [
      createRoute(
        TaskStatusService,
        {
          async updateTask() {
            await release.promise;
            return { receipt: { deliveryId: "late" } };
          },
        },
        "known",
      ),
    ];
    const { url } = await useListener({ routes: slow }, { limits: { idleTimeoutMs: 200 } });
    const idle = useHttp2Session(url);
    const busy = useHttp2Session(url);
    const call = sendRaw(busy, head, emptyCall);
    await once(idle, "goaway");
    await once(idle, "close");
    expect(busy.closed).toBe(false);
    release.resolve();
    expect((await call).trailers).toEqual({ "grpc-status": "0" });
    await once(busy, "close");
  });
});

describe("S6 where all places are taken", () => {
  test.each([
    ["in the lane", "application/grpc", "/taskgate.v1.TaskStatusService/UpdateTask"],
    ["beside the lane", "application/grpc-web", "/taskgate.v1.TaskStatusService/UpdateTask"],
    ["for the public", "application/grpc", "/grpc.health.v1.Health/Check"],
    ["for the public beside the lane", "application/grpc-web", "/grpc.health.v1.Health/Check"],
  ])("those without an admitted call give way: %s", async (_, type, calledPath) => {
    const token = { authorization: "Bearer right" };
    const { url } = await useListener(
      {
        routes: [...routes, createRoute(Health, { check: () => ({}) }, "public")],
        admit({ path, authorization }) {
          if (path.includes("TaskStatus") && authorization === undefined) {
            throw new ConnectError("no", Code.Unauthenticated);
          }
        },
      },
      { limits: { maxConnections: 2 } },
    );
    const honest = useHttp2Session(url);
    await sendRaw(honest, { ...head, "content-type": type, ...token }, emptyCall);
    const stranger = useHttp2Session(url);
    await sendRaw(stranger, { "content-type": type, ":path": calledPath }, emptyCall);
    const ended = new Promise((resolve) => stranger.once("close", resolve));
    const late = await sendRaw(useHttp2Session(url), { ...head, ...token }, emptyCall);
    expect(late.trailers).toEqual({ "grpc-status": "0" });
    await ended;
    expect((await sendRaw(honest, { ...head, ...token }, emptyCall)).trailers).toEqual({
      "grpc-status": "0",
    });
  });

  test("the oldest connection without a call gives way, and one that has called stays", async () => {
    const { url } = await useListener(
      { routes },
      { limits: { maxConnections: 3, firstByteTimeoutMs: 60_000 } },
    );
    const honest = useHttp2Session(url);
    await sendRaw(honest, head, emptyCall);
    const silent = [0, 1].map(() => net.connect(Number(new URL(url).port), "127.0.0.1"));
    for (const socket of silent) {
      socket.on("error", () => undefined);
      await once(socket, "connect");
    }
    const ended = closeOf(silent[0] as net.Socket);
    const late = useHttp2Session(url);
    expect((await sendRaw(late, head, emptyCall)).trailers).toEqual({ "grpc-status": "0" });
    await ended;
    expect((await sendRaw(honest, head, emptyCall)).trailers).toEqual({ "grpc-status": "0" });
  });
});
