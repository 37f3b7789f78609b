import type { SettingTable } from "./setting.ts";

/** How much peers may make the gateway hold or do. Their defaults are those of the model. */
export const limitSettings = {
  maxConnections: {
    kind: "count",
    doc: "connections at once; a new one takes the place of the oldest for which no call was admitted",
    default: "10000",
  },
  maxConnectionsPerPeer: {
    kind: "count",
    doc: "connections at once from one address of another machine, of IPv6 from one network of 64 bits",
    default: "1000",
  },
  maxStreams: { kind: "count", doc: "calls that one HTTP/2 connection may have under way", default: "1000" },
  maxCalls: {
    kind: "count",
    doc: "calls that all connections together may have under way, streams included; calls of the health service, which need no token, a tenth of it",
    default: "20000",
  },
  maxSessions: { kind: "count", doc: "tasks whose leases are held at once", default: "50000" },
  maxMessageBytes: {
    kind: "bytes",
    doc: "the largest request message, on the wire and after decompression; it is known before it is read; 4KiB for health, which everybody may ask",
    default: "4MiB",
  },
  maxPayloadBytes: { kind: "bytes", doc: "the largest JSON payload for an upstream", default: "1MiB" },
  maxLogBytes: { kind: "bytes", doc: "the largest text of one log", default: "4032KiB" },
  maxHeaderBytes: { kind: "bytes", doc: "the headers of one call", default: "16KiB" },
  maxUnfinishedBytes: {
    kind: "bytes",
    doc: "request bodies that are not whole yet or wait for decompression, all together",
    default: "128MiB",
  },
  maxExpansion: {
    kind: "count",
    doc: "how many times its size a compressed message may become, beyond 64KiB",
    default: "200",
  },
  firstByteTimeout: {
    kind: "duration",
    doc: "how long a connection may take until its first request begins, TLS included, and a request's head",
    default: "10s",
  },
  bodyTimeout: {
    kind: "duration",
    doc: "how long a body may take, or a message of a stream once some of it is there",
    default: "60s",
  },
  idleTimeout: {
    kind: "duration",
    doc: "how long a connection may stay open without a call, over HTTP/1.1 at most 60s",
    default: "15m",
  },
  maxWait: {
    kind: "duration",
    doc: "how long a unary call may take; a longer deadline is shortened to it",
    default: "10m",
  },
  defaultWait: { kind: "duration", doc: "how long a unary call without a deadline may take", default: "90s" },
  maxResetsPerMinute: {
    kind: "count",
    doc: "calls that one connection may cancel in a minute, a third of them at once",
    default: "600",
  },
  maxPingsPerMinute: {
    kind: "count",
    doc: "PINGs of one connection in a minute, beyond one for each answer",
    default: "120",
  },
  maxSettingsPerMinute: { kind: "count", doc: "SETTINGS of one connection in a minute", default: "60" },
  maxControlBytesPerMinute: {
    kind: "bytes",
    doc: "bytes of one connection in a minute that are neither a call nor its body: WINDOW_UPDATE, padding, frames without content",
    default: "256KiB",
  },
  maxPenalty: {
    kind: "duration",
    doc: "how long, at most, a new connection waits whose peer's were cut off within the last ten seconds; on this machine all are one peer",
    default: "1s",
  },
} as const satisfies SettingTable;
