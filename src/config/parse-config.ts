import { defaultLimits } from "../model/limits.ts";
import { isLocalAddress } from "../model/listen-address.ts";
import type { RunKey } from "../model/run-report.ts";
import { parseUuid } from "../model/uuid.ts";
import type { BaseUrl, Config } from "./config.ts";
import {
  createSettingReader,
  nonEmpty,
  parseHttpUrl,
  type SettingReader,
  type SettingSources,
  tokenPattern,
} from "./setting-reader.ts";
import { envOf, type SettingName, settings } from "./settings.ts";

/** Where the gateway's settings come from. */
export type ConfigSources = SettingSources<SettingName>;

/** A configuration, or all that is wrong with what was given, a sentence each. */
export type ConfigResult = { readonly config: Config } | { readonly problems: readonly string[] };

/** Reads the configuration. Pure but for `readFile`. */
export function parseConfig(sources: ConfigSources): ConfigResult {
  const problems: string[] = [];
  const read = createSettingReader(settings, sources, problems);

  const listen = read.address("listen");
  const tls = parseTls(read, problems);
  const authToken = read.token("authToken");
  const adminToken = read.token("adminToken");
  if (listen !== undefined && !isLocalAddress(listen)) {
    if (authToken === undefined && adminToken === undefined) {
      problems.push(
        `${envOf("listen")} can be reached from other machines, so ${envOf("authToken")} or ${envOf("adminToken")} must be set`,
      );
    }
    if (tls === undefined && !read.boolean("insecureListen")) {
      problems.push(
        `${envOf("listen")} can be reached from other machines, so ${envOf("tlsCert")} must be set, or ${envOf("insecureListen")} where the network is trusted`,
      );
    }
  }
  const config: Config = {
    listen: listen ?? { kind: "tcp", host: "127.0.0.1", port: 0 },
    opsListen: read.value("opsListen") === "off" ? undefined : read.tcpAddress("opsListen"),
    orchestra: parseOrchestra(read, problems),
    orchestrator: parseOrchestrator(read, problems),
    aidbox: parseAidbox(read, problems),
    outbox: parseOutbox(read, problems),
    authToken,
    adminToken,
    allowedOrigins: parseOrigins(read, problems),
    tls,
    heartbeatIntervalMs: read.durationMs("heartbeatInterval"),
    leaseDurationMs: read.durationMs("leaseDuration"),
    drainTimeoutMs: read.durationMs("drainTimeout"),
    fastLane: read.boolean("fastLane"),
    logLevel: parseLogLevel(read, problems),
    limits: defaultLimits,
  };
  if (config.leaseDurationMs < 2 * config.heartbeatIntervalMs) {
    problems.push(
      `${envOf("leaseDuration")} must be at least twice ${envOf("heartbeatInterval")}, or one lost beat ends a task`,
    );
  }
  return problems.length > 0 ? { problems } : { config };
}

type Reader = SettingReader<SettingName>;

function parseTls(read: Reader, problems: string[]): Config["tls"] {
  const cert = read.file("tlsCert");
  const key = read.file("tlsKey");
  const clientCa = read.file("tlsClientCa");
  if ((read.text("tlsCert") === undefined) !== (read.text("tlsKey") === undefined)) {
    problems.push(`${envOf("tlsCert")} and ${envOf("tlsKey")} must be set together`);
  }
  if (cert === undefined || key === undefined) {
    if (clientCa !== undefined) {
      problems.push(`${envOf("tlsClientCa")} needs ${envOf("tlsCert")}`);
    }
    return undefined;
  }
  return clientCa === undefined ? { cert, key } : { cert, key, clientCa };
}

function parseOrchestra(read: Reader, problems: string[]): Config["orchestra"] {
  const apiKey = read.token("orchestraApiKey");
  const url = read.webhookUrl("orchestraWebhookUrl");
  if (apiKey === undefined || url === undefined) {
    return undefined;
  }
  return {
    origin: url.origin,
    webhookPath: url.pathname + url.search,
    apiKey,
    timeoutMs: read.durationMs("orchestraTimeout"),
    defaultRun: parseDefaultRun(read, problems),
  };
}

function parseDefaultRun(read: Reader, problems: string[]): RunKey | undefined {
  const text = read.text("orchestraTaskRunId");
  if (text === undefined) {
    return undefined;
  }
  const taskRunId = parseUuid(text);
  const attempt = Number(read.text("orchestraTaskAttemptNumber") ?? "0");
  if (taskRunId === undefined) {
    problems.push(`${envOf("orchestraTaskRunId")} must be a UUID`);
  }
  if (!Number.isInteger(attempt) || attempt < 0 || attempt >= 2 ** 31) {
    problems.push(`${envOf("orchestraTaskAttemptNumber")} must be a number from 0`);
  }
  return taskRunId === undefined ? undefined : { taskRunId, attempt };
}

function parseOrchestrator(read: Reader, problems: string[]): Config["orchestrator"] {
  const urls = read.urls("orchestratorUrl");
  if (urls.length === 0) {
    return undefined;
  }
  // A credential goes to its own base only, so several bases need as many.
  const tokens =
    read
      .text("orchestratorToken")
      ?.split(",")
      .map((token) => token.trim()) ?? urls.map(() => "");
  if (!tokens.every((token) => tokenPattern.test(token))) {
    problems.push(`${envOf("orchestratorToken")} must be printable ASCII without spaces`);
  }
  if (tokens.length !== urls.length) {
    problems.push(
      `${envOf("orchestratorToken")} must hold one token for each of the ${urls.length} URLs in ${envOf("orchestratorUrl")}, with commas between`,
    );
  }
  return {
    bases: urls.map((url, index) => ({ ...baseUrl(url), token: nonEmpty(tokens[index]) })),
    timeoutMs: read.durationMs("orchestratorTimeout"),
  };
}

function parseAidbox(read: Reader, problems: string[]): Config["aidbox"] {
  const url = read.url("aidboxUrl");
  if (url === undefined) {
    return undefined;
  }
  const clientId = read.text("aidboxClientId");
  const clientSecret = read.text("aidboxClientSecret");
  if (clientId === undefined || clientSecret === undefined) {
    problems.push(
      `${envOf("aidboxUrl")} needs ${envOf("aidboxClientId")} and ${envOf("aidboxClientSecret")}`,
    );
  }
  return {
    base: baseUrl(url),
    clientId: clientId ?? "",
    clientSecret: clientSecret ?? "",
    timeoutMs: read.durationMs("aidboxTimeout"),
    notifications: {
      heartbeat: read.text("aidboxHeartbeatNotification") ?? "",
      progress: read.text("aidboxProgressNotification") ?? "",
    },
  };
}

function parseOutbox(read: Reader, problems: string[]): Config["outbox"] {
  if (read.text("databaseUrl") !== undefined) {
    problems.push(`${envOf("databaseUrl")} is not supported yet: use ${envOf("dataDir")}`);
  }
  return {
    directory: read.text("dataDir") ?? "",
    maxRows: read.count("outboxMaxRows"),
    maxBytes: read.count("outboxMaxBytes"),
    retentionMs: read.durationMs("outboxRetention"),
  };
}

function parseOrigins(read: Reader, problems: string[]): readonly string[] {
  const origins = read.texts("allowedOrigins");
  for (const origin of origins) {
    if (parseHttpUrl(origin)?.origin !== origin) {
      problems.push(`${envOf("allowedOrigins")} must hold origins such as https://example.org`);
    }
  }
  return origins;
}

function parseLogLevel(read: Reader, problems: string[]): string {
  const level = read.text("logLevel") ?? "";
  if (!["info", "warn", "error", "silent"].includes(level)) {
    problems.push(`${envOf("logLevel")} must be info, warn, error or silent`);
  }
  return level;
}

function baseUrl(url: URL): BaseUrl {
  return { origin: url.origin, path: url.pathname.replace(/\/+$/, "") };
}
