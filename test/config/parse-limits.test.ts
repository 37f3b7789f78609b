import { describe, expect, test } from "vitest";
import { parseConfig } from "../../src/config/parse-config.ts";
import { defaultLimits } from "../../src/model/limits.ts";
import { defaultPeerLimits } from "../../src/model/peer-limits.ts";
import { defaultUpstreamNetworks } from "../../src/model/upstream-networks.ts";

function parse(env: Record<string, string> = {}) {
  return parseConfig({
    env,
    flags: {},
    readFile(path) {
      throw new Error(`the test reads ${path}`);
    },
  });
}

function configOf(env: Record<string, string> = {}) {
  const result = parse(env);
  if ("problems" in result) {
    throw new Error(result.problems.join("\n"));
  }
  return result.config;
}

describe("limits", () => {
  test("are those of the model where nothing is set", () => {
    const { limits, peerLimits, upstreamNetworks } = configOf();
    expect(limits).toEqual(defaultLimits);
    expect(peerLimits).toEqual(defaultPeerLimits);
    expect(upstreamNetworks).toEqual(defaultUpstreamNetworks);
  });

  test("are each what is set", () => {
    const { limits, peerLimits } = configOf({
      TASKGATE_MAX_MESSAGE_BYTES: "8MiB",
      TASKGATE_MAX_PAYLOAD_BYTES: "2MiB",
      TASKGATE_MAX_LOG_BYTES: "7MiB",
      TASKGATE_MAX_WAIT: "1m",
      TASKGATE_DEFAULT_WAIT: "30s",
      TASKGATE_MAX_CONNECTIONS: "1",
      TASKGATE_MAX_CONNECTIONS_PER_PEER: "2",
      TASKGATE_MAX_STREAMS: "3",
      TASKGATE_MAX_CALLS: "16",
      TASKGATE_MAX_SESSIONS: "4",
      TASKGATE_MAX_HEADER_BYTES: "5KiB",
      TASKGATE_MAX_UNFINISHED_BYTES: "6KiB",
      TASKGATE_MAX_EXPANSION: "7",
      TASKGATE_FIRST_BYTE_TIMEOUT: "8s",
      TASKGATE_BODY_TIMEOUT: "9s",
      TASKGATE_IDLE_TIMEOUT: "10s",
      TASKGATE_MAX_RESETS_PER_MINUTE: "11",
      TASKGATE_MAX_PINGS_PER_MINUTE: "12",
      TASKGATE_MAX_SETTINGS_PER_MINUTE: "13",
      TASKGATE_MAX_CONTROL_BYTES_PER_MINUTE: "14",
      TASKGATE_MAX_PENALTY: "15ms",
    });
    expect(limits).toEqual({
      ...defaultLimits,
      maxMessageBytes: 8 * 1024 * 1024,
      maxPayloadBytes: 2 * 1024 * 1024,
      maxLogBytes: 7 * 1024 * 1024,
      maxWaitMs: 60_000,
      defaultWaitMs: 30_000,
    });
    expect(peerLimits).toEqual({
      maxConnections: 1,
      maxConnectionsPerPeer: 2,
      maxStreams: 3,
      maxCalls: 16,
      maxSessions: 4,
      maxHeaderBytes: 5 * 1024,
      maxUnfinishedBytes: 6 * 1024,
      maxExpansion: 7,
      firstByteTimeoutMs: 8000,
      bodyTimeoutMs: 9000,
      idleTimeoutMs: 10_000,
      maxResetsPerMinute: 11,
      maxPingsPerMinute: 12,
      maxSettingsPerMinute: 13,
      maxControlBytesPerMinute: 14,
      maxPenaltyMs: 15,
    });
  });

  test.each([
    ["TASKGATE_MAX_CONNECTIONS", "0", "must be a number from 1"],
    ["TASKGATE_MAX_HEADER_BYTES", "much", "must be a size such as 65536, 64KiB or 4MiB"],
    ["TASKGATE_MAX_LOG_BYTES", "5MiB", "must not be more than TASKGATE_MAX_MESSAGE_BYTES"],
    ["TASKGATE_MAX_PAYLOAD_BYTES", "5MiB", "must not be more than TASKGATE_MAX_MESSAGE_BYTES"],
    ["TASKGATE_UPSTREAM_NETWORKS", "10.0.0.0/33", "must hold public, private, loopback, or networks such as"],
    ["TASKGATE_UPSTREAM_NETWORKS", "pubic", "must hold public, private, loopback, or networks such as"],
  ])("%s=%s is refused", (name, value, problem) => {
    expect(parse({ [name]: value })).toEqual({
      problems: [expect.stringContaining(`${name} ${problem}`)],
    });
  });
});
