import { defaultLimits } from "../model/limits.ts";
import {
  isLocalAddress,
  type ListenAddress,
  parseListenAddress,
  type TcpAddress,
} from "../model/listen-address.ts";
import type { RunKey } from "../model/run-report.ts";
import { parseUuid } from "../model/uuid.ts";
import type { BaseUrl, Config } from "./config.ts";
import { parseDurationMs } from "./duration.ts";
import { envOf, flagOf, type Setting, type SettingName, settings } from "./settings.ts";

/** Where settings come from. What is fixed wins over a flag, and a flag over a variable. */
export interface ConfigSources {
  /** Values that nobody may change. */
  fixed?: Partial<Record<SettingName, string>>;
  env: Readonly<Record<string, string | undefined>>;
  /** By flag name, without dashes. */
  flags: Readonly<Record<string, string | undefined>>;
  /** Reads a file as text; throws when it cannot. */
  readFile: (path: string) => string;
}

/** A configuration, or all that is wrong with what was given, a sentence each. */
export type ConfigResult = { readonly config: Config } | { readonly problems: readonly string[] };

/** Reads the configuration. Pure but for `readFile`. */
export function parseConfig(sources: ConfigSources): ConfigResult {
  const problems: string[] = [];
  const read = createReader(sources, problems);

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

type Reader = ReturnType<typeof createReader>;

function createReader(sources: ConfigSources, problems: string[]) {
  function value(name: SettingName): string | undefined {
    const fixed = sources.fixed?.[name];
    if (fixed !== undefined) {
      return fixed;
    }
    const setting: Setting = settings[name];
    const env = envOf(name);
    const flag = sources.flags[flagOf(name)];
    if (setting.isSecret !== true) {
      return flag ?? nonEmpty(sources.env[env]) ?? setting.default;
    }
    const path = flag ?? nonEmpty(sources.env[`${env}_FILE`]);
    return path === undefined ? nonEmpty(sources.env[env]) : file(`${env}_FILE`, path)?.trim();
  }
  function file(env: string, path: string): string | undefined {
    try {
      return sources.readFile(path);
    } catch (error) {
      problems.push(`${env} cannot be read: ${error instanceof Error ? error.message : "unknown error"}`);
      return undefined;
    }
  }
  function parsed<Value>(
    name: SettingName,
    parse: (text: string) => Value | undefined,
    form: string,
  ): Value | undefined {
    const text = value(name);
    const result = text === undefined ? undefined : parse(text);
    if (text !== undefined && result === undefined) {
      problems.push(`${envOf(name)} must be ${form}`);
    }
    return result;
  }
  return {
    value,
    file: (name: SettingName) => {
      const path = value(name);
      return path === undefined ? undefined : file(envOf(name), path);
    },
    text: (name: SettingName) => nonEmpty(value(name)),
    // A header carries it, and must be able to.
    token: (name: SettingName): string | undefined =>
      parsed(
        name,
        (text) => (tokenPattern.test(text) ? text : undefined),
        "printable ASCII without spaces",
      ) || undefined,
    address: (name: SettingName): ListenAddress | undefined =>
      parsed(name, parseListenAddress, "host:port or unix:PATH"),
    tcpAddress: (name: SettingName): TcpAddress | undefined =>
      parsed(
        name,
        (text) => {
          const address = parseListenAddress(text);
          return address?.kind === "tcp" ? address : undefined;
        },
        "host:port",
      ),
    durationMs: (name: SettingName): number =>
      parsed(
        name,
        (text) => {
          const ms = parseDurationMs(text);
          return ms !== undefined && ms >= 1 && ms <= maxDurationMs ? ms : undefined;
        },
        "a duration such as 30s, 500ms or 2m, up to 576h",
      ) ?? 0,
    count: (name: SettingName): number =>
      parsed(name, (text) => (/^[1-9]\d{0,14}$/.test(text) ? Number(text) : undefined), "a number from 1") ??
      0,
    boolean: (name: SettingName): boolean =>
      parsed(name, (text) => booleans.get(text.toLowerCase()), "true or false") ?? false,
    url: (name: SettingName): URL | undefined =>
      parsed(name, parseBaseUrl, "an http or https URL without credentials, query or fragment"),
    webhookUrl: (name: SettingName): URL | undefined =>
      parsed(name, parseHttpUrl, "an http or https URL without credentials or fragment"),
    urls: (name: SettingName): readonly URL[] =>
      parsed(
        name,
        (text) => allDefined(splitList(text).map(parseBaseUrl)),
        "http or https URLs without credentials, query or fragment, with commas between",
      ) ?? [],
    texts: (name: SettingName): readonly string[] => splitList(value(name) ?? ""),
  };
}

const tokenPattern = /^[\x21-\x7e]*$/;

// What a timer of Node can hold.
const maxDurationMs = 24 * 86_400_000;

const booleans = new Map([
  ["true", true],
  ["1", true],
  ["false", false],
  ["0", false],
]);

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

function parseHttpUrl(text: string): URL | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isPlain =
    (url?.protocol === "http:" || url?.protocol === "https:") &&
    url.username === "" &&
    url.password === "" &&
    url.hash === "";
  return isPlain ? url : undefined;
}

function parseBaseUrl(text: string): URL | undefined {
  const url = parseHttpUrl(text);
  return url?.search === "" ? url : undefined;
}

function baseUrl(url: URL): BaseUrl {
  return { origin: url.origin, path: url.pathname.replace(/\/+$/, "") };
}

function allDefined<Value>(values: readonly (Value | undefined)[]): Value[] | undefined {
  const defined = values.filter((value) => value !== undefined);
  return defined.length === values.length ? defined : undefined;
}

function splitList(text: string): string[] {
  return text
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "");
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === "" ? undefined : text;
}
