import { isLocalAddress } from "../model/listen-address.ts";
import { defaultUpstreamNetworks, parseUpstreamNetworks } from "../model/upstream-networks.ts";
import type { Config } from "./config.ts";
import type { SettingSources } from "./given-settings.ts";
import { parseCallers } from "./parse-callers.ts";
import { parseLimits, parsePeerLimits } from "./parse-limits.ts";
import { parseSocketAccess } from "./parse-socket.ts";
import { parseTracing } from "./parse-tracing.ts";
import { parseAidbox, parseOrchestra, parseOrchestrator } from "./parse-upstreams.ts";
import { runOptions } from "./run-settings.ts";
import { createSettingReader, parseHttpUrl, type SettingReader } from "./setting-reader.ts";
import { configOptions, envOf, type SettingName, settings } from "./settings.ts";
import { tlsProblems } from "./tls-problems.ts";
import { unknownKeys, unknownVariables } from "./unknown-names.ts";

/** Where the gateway's settings come from. */
export type ConfigSources = SettingSources<SettingName>;

/** A configuration, or all that is wrong with what was given, a sentence each. */
export type ConfigResult = { readonly config: Config } | { readonly problems: readonly string[] };

/** Reads the configuration. Pure but for `readFile`. */
export function parseConfig(sources: ConfigSources): ConfigResult {
  const problems: string[] = [
    ...(sources.file?.problems ?? []),
    ...(sources.file === undefined ? [] : unknownKeys(sources.file, settings, ["callers"])),
    ...unknownVariables(sources.env, [settings, configOptions, runOptions]),
  ];
  const read = createSettingReader(settings, sources, problems);

  const listen = read.address("listen");
  const tls = parseTls(read, problems);
  const callers = parseCallers(read, sources, problems);
  if (listen !== undefined && !isLocalAddress(listen)) {
    if (callers.length === 0) {
      problems.push(
        `${read.where("listen")} can be reached from other machines, so ${envOf("authToken")}, ${envOf("adminToken")} or callers in the file must be set`,
      );
    }
    if (tls === undefined && !read.boolean("insecureListen")) {
      problems.push(
        `${read.where("listen")} can be reached from other machines, so ${envOf("tlsCert")} must be set, or ${envOf("insecureListen")} where the network is trusted`,
      );
    }
  }
  const config: Config = {
    listen: listen ?? { kind: "tcp", host: "127.0.0.1", port: 0 },
    socketAccess: parseSocketAccess(read, sources.readFile, problems),
    opsListen: read.tcpAddress("opsListen"),
    orchestra: parseOrchestra(read, problems),
    orchestrator: parseOrchestrator(read, problems),
    aidbox: parseAidbox(read, problems),
    upstreamNetworks: parseNetworks(read, problems),
    outbox: parseOutbox(read, problems),
    callers,
    allowedOrigins: parseOrigins(read, problems),
    tls,
    heartbeatIntervalMs: read.durationMs("heartbeatInterval"),
    leaseDurationMs: read.durationMs("leaseDuration"),
    drainTimeoutMs: read.durationMs("drainTimeout"),
    minAcceptMs: read.durationMs("minAccept", 0),
    terminationLog: read.text("terminationLog"),
    fastLane: read.boolean("fastLane"),
    logLevel: read.choice("logLevel", logLevels) ?? "info",
    logFormat: read.choice("logFormat", logFormats) ?? "auto",
    tracing: parseTracing(read, problems),
    limits: parseLimits(read, problems),
    peerLimits: parsePeerLimits(read),
  };
  if (config.leaseDurationMs > 0 && config.leaseDurationMs < 2 * config.heartbeatIntervalMs) {
    problems.push(
      `${read.where("leaseDuration")} must be at least twice ${envOf("heartbeatInterval")}, or one lost beat ends a task`,
    );
  }
  if (config.minAcceptMs > config.drainTimeoutMs) {
    problems.push(`${envOf("minAccept")} must not be longer than ${envOf("drainTimeout")}`);
  }
  return problems.length > 0 ? { problems } : { config };
}

type Reader = SettingReader<typeof settings>;

function parseTls(read: Reader, problems: string[]): Config["tls"] {
  const cert = read.file("tlsCert");
  const key = read.file("tlsKey");
  const clientCa = read.file("tlsClientCa");
  if (read.isGiven("tlsCert") !== read.isGiven("tlsKey")) {
    problems.push(`${envOf("tlsCert")} and ${envOf("tlsKey")} must be set together`);
  }
  if (clientCa !== undefined && !read.isGiven("tlsCert")) {
    problems.push(`${read.where("tlsClientCa")} needs ${envOf("tlsCert")}`);
  }
  if (cert === undefined || key === undefined) {
    return undefined;
  }
  const texts = { cert, key, clientCa };
  problems.push(...tlsProblems(texts));
  return texts;
}

function parseNetworks(read: Reader, problems: string[]): Config["upstreamNetworks"] {
  const networks = parseUpstreamNetworks(read.list("upstreamNetworks"));
  if (networks === undefined) {
    problems.push(
      `${read.where("upstreamNetworks")} must hold public, private, loopback, or networks such as 10.1.0.0/16, with commas between`,
    );
  }
  return networks ?? defaultUpstreamNetworks;
}

function parseOutbox(read: Reader, problems: string[]): Config["outbox"] {
  if (read.isGiven("databaseUrl")) {
    problems.push(`${read.where("databaseUrl")} is not supported yet: use ${envOf("dataDir")}`);
  }
  return {
    directory: read.text("dataDir") ?? "",
    maxRows: read.count("outboxMaxRows"),
    maxBytes: read.bytes("outboxMaxBytes"),
    retentionMs: read.durationMs("outboxRetention"),
  };
}

function parseOrigins(read: Reader, problems: string[]): readonly string[] {
  const origins = read.list("allowedOrigins");
  for (const origin of origins) {
    if (parseHttpUrl(origin)?.origin !== origin) {
      problems.push(`${read.where("allowedOrigins")} must hold origins such as https://example.org`);
    }
  }
  return origins;
}

const logLevels = new Map(["debug", "info", "warn", "error", "silent"].map((level) => [level, level]));
const logFormats = new Map((["auto", "json", "text"] as const).map((format) => [format as string, format]));
