import { constants, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import type { Socket } from "node:net";
import { type ChurnMap, createChurnMap } from "../model/churn-map.ts";
import type { PeerLimits } from "../model/peer-limits.ts";
import { createRateBucket } from "./rate-bucket.ts";

export interface SessionWatchOptions {
  limits: PeerLimits;
  /** Is told why a connection was cut off. */
  onCutOff: (why: string, socket: Socket) => void;
  /** A clock that never goes back, in milliseconds. */
  now: () => number;
}

/**
 * Watches over HTTP/2 connections, for what Node has no limit for. One that sends more
 * PINGs, SETTINGS, or bytes without use than it may is cut off with
 * `ENHANCE_YOUR_CALM`; one that never begins, too; one that has long had no call is
 * asked to leave.
 */
export interface SessionWatch {
  add(session: ServerHttp2Session, socket: Socket): void;
  /** A call begins. */
  addStream(stream: ServerHttp2Stream): void;
  stop(): void;
}

/** How much of a call a client may send before any of it is read. */
export const streamWindowBytes = 1024 * 1024;
/** How much of all calls together. */
export const sessionWindowBytes = 4 * 1024 * 1024;

// Bytes of frames without a payload, or with eight bytes of it.
const settingsBytes = 9;
const pingBytes = 17;
// A message byte by byte has ten times its size in frames of its own.
const bytesPerDataByte = 10;
// Who reads says so: two WINDOW_UPDATEs for a frame, at worst.
const bytesPerWrittenByte = 3;

interface Watched {
  session: ServerHttp2Session;
  socket: Socket;
  begunMs: number;
  openStreams: ChurnMap<ServerHttp2Stream, undefined>;
  lastCallMs: number;
  /** A call of it has ended. */
  hasCalled: boolean;
  /** Since the last look. */
  streams: number;
  dataBytes: number;
  pings: number;
  settings: number;
  /** What calls that have ended may still send. */
  lateBytes: number;
  /** At the last look. */
  bytesRead: number;
  bytesWritten: number;
  unreadBytes: number;
  hasSettings: boolean;
  isWithinControlBytes(bytes: number): boolean;
  cutOff(why: string): void;
}

// NGHTTP2_ERR_PROTO.
const protocolError = -505;

const nothing = { streams: 0, dataBytes: 0, pings: 0, settings: 0 };

/** Creates a watch. */
export function watchSessions({ limits, onCutOff, now }: SessionWatchOptions): SessionWatch {
  const watched = new Map<ServerHttp2Session, Watched>();
  const intervalMs = Math.min(100, limits.firstByteTimeoutMs / 2, limits.idleTimeoutMs / 2);
  // Only while there is somebody to look at: at rest each wake-up counts.
  let timer: NodeJS.Timeout | undefined;

  function lookAtAll(): void {
    for (const each of watched.values()) {
      look(each);
    }
    if (watched.size === 0) {
      clearInterval(timer);
      timer = undefined;
    }
  }

  function look(each: Watched): void {
    const nowMs = now();
    const { session, socket } = each;
    const { bytesRead, bytesWritten } = socket;
    if (bytesRead !== each.bytesRead) {
      const answers = pingBytes * each.pings + settingsBytes * each.settings;
      const written = Math.max(0, bytesWritten - each.bytesWritten - answers);
      const allowed =
        each.streams * limits.maxHeaderBytes +
        each.dataBytes * bytesPerDataByte +
        written * bytesPerWrittenByte;
      const unreadBytes = unreadBytesOf(each.openStreams.keys());
      const rest = bytesRead - each.bytesRead - allowed - Math.max(0, unreadBytes - each.unreadBytes);
      const late = Math.min(each.lateBytes, Math.max(0, rest));
      each.lateBytes -= late;
      const useless = rest - late;
      Object.assign(each, { bytesRead, bytesWritten, unreadBytes, ...nothing });
      if (useless > 0 && !each.isWithinControlBytes(useless)) {
        each.cutOff("it sent too many frames that carry nothing");
        return;
      }
    }
    if (!each.hasSettings && nowMs - each.begunMs > limits.firstByteTimeoutMs) {
      each.cutOff("it did not begin HTTP/2");
    } else if (
      each.openStreams.size === 0 &&
      nowMs - each.lastCallMs > limits.idleTimeoutMs &&
      !session.closed
    ) {
      session.close();
    }
  }

  return {
    add(session, socket) {
      const nowMs = now();
      const pings = createRateBucket(limits.maxPingsPerMinute);
      const settings = createRateBucket(limits.maxSettingsPerMinute);
      const controlBytes = createRateBucket(limits.maxControlBytesPerMinute);
      let writtenAtPing = 0;
      const each = {
        session,
        socket,
        begunMs: nowMs,
        openStreams: createChurnMap<ServerHttp2Stream, undefined>(),
        lastCallMs: nowMs,
        hasCalled: false,
        ...nothing,
        lateBytes: 0,
        bytesRead: 0,
        bytesWritten: 0,
        unreadBytes: 0,
        hasSettings: false,
        isWithinControlBytes: (bytes: number) => controlBytes.add(bytes, now()),
        cutOff(why: string) {
          watched.delete(session);
          if (!session.destroyed) {
            const code = constants.NGHTTP2_ENHANCE_YOUR_CALM;
            session.goaway(code, 0, Buffer.from(why));
            session.destroy(undefined, code);
            onCutOff(why, socket);
          }
        },
      };
      watched.set(session, each);
      timer ??= setInterval(lookAtAll, intervalMs);
      session.once("close", () => watched.delete(session));
      // nghttp2 has rules of its own; of a session that it ends Node says no more.
      session.once("error", ({ code, errno }: NodeJS.ErrnoException) => {
        // grpc-go ends each connection by a GOAWAY with a stream that was never ours.
        const isOnlyEnd = errno === protocolError && each.openStreams.size === 0 && each.hasCalled;
        if (code?.startsWith("ERR_HTTP2_") === true && watched.delete(session) && !isOnlyEnd) {
          onCutOff("it broke the rules of HTTP/2", socket);
        }
      });
      session.on("remoteSettings", () => {
        each.hasSettings = true;
        each.settings += 1;
        if (!settings.add(1, now())) {
          each.cutOff("it sent too many SETTINGS");
        }
      });
      session.on("ping", () => {
        each.pings += 1;
        // Clients measure the way by a PING for each answer that they read.
        const { bytesWritten } = socket;
        const isBehindAnswer = bytesWritten - writtenAtPing > pingBytes;
        writtenAtPing = bytesWritten;
        if (!isBehindAnswer && !pings.add(1, now())) {
          each.cutOff("too_many_pings");
        }
      });
    },
    addStream(stream) {
      const each = stream.session && watched.get(stream.session as ServerHttp2Session);
      if (!each) {
        return;
      }
      each.streams += 1;
      each.openStreams.set(stream, undefined);
      // Unlike `on`, it does not make the stream flow.
      stream.prependListener("data", (chunk: Buffer) => {
        each.dataBytes += chunk.length;
      });
      let hasEnded = false;
      // A stream that this side closes ends, too.
      stream.prependOnceListener("end", () => {
        hasEnded = !stream.closed;
      });
      stream.once("close", () => {
        each.openStreams.delete(stream);
        // It was answered before all of it came, and its client has not heard of that yet.
        if (!hasEnded) {
          each.lateBytes = Math.min(each.lateBytes + streamWindowBytes, sessionWindowBytes);
        }
        each.lastCallMs = now();
        each.hasCalled = true;
      });
    },
    stop: () => clearInterval(timer),
  };
}

// What has come and waits until somebody reads it.
function unreadBytesOf(streams: Iterable<ServerHttp2Stream>): number {
  let bytes = 0;
  for (const stream of streams) {
    bytes += stream.readableLength;
  }
  return bytes;
}
