import type { Limits } from "../model/limits.ts";
import { defaultLimits } from "../model/limits.ts";
import type { PeerLimits } from "../model/peer-limits.ts";
import type { limitSettings } from "./limit-settings.ts";
import type { SettingReader } from "./setting-reader.ts";

type Reader = SettingReader<typeof limitSettings>;

/** Reads the limits that clients are told of. */
export function parseLimits(read: Reader, problems: string[]): Limits {
  const limits: Limits = {
    ...defaultLimits,
    maxMessageBytes: read.bytes("maxMessageBytes"),
    maxPayloadBytes: read.bytes("maxPayloadBytes"),
    maxLogBytes: read.bytes("maxLogBytes"),
    maxWaitMs: read.durationMs("maxWait"),
    defaultWaitMs: read.durationMs("defaultWait"),
  };
  for (const name of ["maxPayloadBytes", "maxLogBytes"] as const) {
    if (limits[name] > limits.maxMessageBytes) {
      problems.push(`${read.where(name)} must not be more than ${read.where("maxMessageBytes")}`);
    }
  }
  return limits;
}

/** Reads what peers may make the gateway hold or do. */
export function parsePeerLimits(read: Reader): PeerLimits {
  return {
    maxConnections: read.count("maxConnections"),
    maxConnectionsPerPeer: read.count("maxConnectionsPerPeer"),
    maxStreams: read.count("maxStreams"),
    maxCalls: read.count("maxCalls"),
    maxSessions: read.count("maxSessions"),
    maxHeaderBytes: read.bytes("maxHeaderBytes"),
    maxUnfinishedBytes: read.bytes("maxUnfinishedBytes"),
    maxExpansion: read.count("maxExpansion"),
    firstByteTimeoutMs: read.durationMs("firstByteTimeout"),
    bodyTimeoutMs: read.durationMs("bodyTimeout"),
    idleTimeoutMs: read.durationMs("idleTimeout"),
    maxResetsPerMinute: read.count("maxResetsPerMinute"),
    maxPingsPerMinute: read.count("maxPingsPerMinute"),
    maxSettingsPerMinute: read.count("maxSettingsPerMinute"),
    maxControlBytesPerMinute: read.bytes("maxControlBytesPerMinute"),
    maxPenaltyMs: read.durationMs("maxPenalty"),
  };
}
