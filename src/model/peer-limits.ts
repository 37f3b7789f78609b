/**
 * What peers may make the gateway hold or do. Beyond it a peer is refused, waits, or
 * loses its connection; what it was promised stays.
 */
export interface PeerLimits {
  /** Connections that are open at once. A new one takes the place of the oldest for which no call was admitted. */
  maxConnections: number;
  /** Of those, how many may come from one address of another machine, of IPv6 from one network of 64 bits. */
  maxConnectionsPerPeer: number;
  /** Calls that one HTTP/2 connection may have under way; a further one waits. */
  maxStreams: number;
  /** Calls that all connections together may have under way; a tenth of them without a token. */
  maxCalls: number;
  /** Tasks whose leases are held at once. */
  maxSessions: number;
  /** The headers of one call, in bytes. */
  maxHeaderBytes: number;
  /** Request bodies that are not whole yet, or are being decompressed, all together, in bytes. */
  maxUnfinishedBytes: number;
  /** How many times its size a compressed message may become. */
  maxExpansion: number;
  /** How long a connection may take until its first request begins, TLS included, and the head of one. */
  firstByteTimeoutMs: number;
  /** How long a body may take, or a message of a stream once some of it is there. */
  bodyTimeoutMs: number;
  /** How long a connection may stay open without a call. */
  idleTimeoutMs: number;
  /** Calls that one connection may cancel in a minute, a third of them at once. */
  maxResetsPerMinute: number;
  /** PINGs of one connection in a minute, beyond those between answers. */
  maxPingsPerMinute: number;
  /** SETTINGS of one connection in a minute. */
  maxSettingsPerMinute: number;
  /** Bytes of one connection in a minute that are neither a call nor its body: WINDOW_UPDATE, empty frames. */
  maxControlBytesPerMinute: number;
  /** How long, at most, a connection waits whose peer's were cut off within the last ten seconds. */
  maxPenaltyMs: number;
}

/** The limits where nothing else is configured. */
export const defaultPeerLimits: PeerLimits = {
  maxConnections: 10_000,
  maxConnectionsPerPeer: 1000,
  maxStreams: 1000,
  maxCalls: 20_000,
  maxSessions: 50_000,
  maxHeaderBytes: 16 * 1024,
  maxUnfinishedBytes: 128 * 1024 * 1024,
  maxExpansion: 200,
  firstByteTimeoutMs: 10_000,
  bodyTimeoutMs: 60_000,
  idleTimeoutMs: 15 * 60_000,
  maxResetsPerMinute: 600,
  maxPingsPerMinute: 120,
  maxSettingsPerMinute: 60,
  maxControlBytesPerMinute: 256 * 1024,
  maxPenaltyMs: 1000,
};
