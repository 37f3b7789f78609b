import type { RunKey } from "../model/run-report.ts";
import { parseUuid } from "../model/uuid.ts";
import type { BaseUrl, Config } from "./config.ts";
import { parseWay } from "./parse-way.ts";
import { nonEmpty, type SettingReader } from "./setting-reader.ts";
import { envOf, type settings } from "./settings.ts";
import { parseToken, tokenForm, tokenPattern } from "./tokens.ts";

type Reader = SettingReader<typeof settings>;

/** Reads how Orchestra is reached; undefined: it is off. */
export function parseOrchestra(read: Reader, problems: string[]): Config["orchestra"] {
  const apiKey = read.secret("orchestraApiKey", parseToken, tokenForm);
  const url = read.webhookUrl("orchestraWebhookUrl");
  // Told of what is wrong also where it is off.
  const more = {
    timeoutMs: read.durationMs("orchestraTimeout"),
    way: parseWay(read, "orchestra", problems),
    defaultRun: parseDefaultRun(read, problems),
  };
  return apiKey === undefined || url === undefined
    ? undefined
    : { origin: url.origin, webhookPath: url.pathname + url.search, apiKey, ...more };
}

function parseDefaultRun(read: Reader, problems: string[]): RunKey | undefined {
  const text = read.text("orchestraTaskRunId");
  if (text === undefined) {
    return undefined;
  }
  const taskRunId = parseUuid(text);
  const attempt = Number(read.text("orchestraTaskAttemptNumber") ?? "0");
  if (taskRunId === undefined) {
    problems.push(`${read.where("orchestraTaskRunId")} must be a UUID`);
  }
  if (!Number.isInteger(attempt) || attempt < 0 || attempt >= 2 ** 31) {
    problems.push(`${read.where("orchestraTaskAttemptNumber")} must be a number from 0`);
  }
  return taskRunId === undefined ? undefined : { taskRunId, attempt };
}

/** Reads how the Workflow Orchestrators are reached; undefined: there is none. */
export function parseOrchestrator(read: Reader, problems: string[]): Config["orchestrator"] {
  const urls = read.urls("orchestratorUrl");
  const more = {
    timeoutMs: read.durationMs("orchestratorTimeout"),
    way: parseWay(read, "orchestrator", problems),
  };
  if (urls.length === 0) {
    tellOfNoUrl(read, "orchestratorUrl", ["orchestratorToken"], problems);
    return undefined;
  }
  // A credential goes to its own base only, so several bases need as many.
  function parse(text: string): readonly (string | undefined)[] | undefined {
    const tokens = text.split(",").map((token) => nonEmpty(token.trim()));
    const areRight = tokens.every((token) => token === undefined || tokenPattern.test(token));
    return areRight && tokens.length === urls.length ? tokens : undefined;
  }
  const tokens = read.secret(
    "orchestratorToken",
    parse,
    urls.length === 1
      ? tokenForm
      : `one token for each of the ${urls.length} URLs in ${envOf("orchestratorUrl")}, with commas between, each ${tokenForm}`,
  );
  return { bases: urls.map(baseUrl), tokens, ...more };
}

/** Reads how Aidbox is reached; undefined: it is off. */
export function parseAidbox(read: Reader, problems: string[]): Config["aidbox"] {
  const url = read.url("aidboxUrl");
  const clientId = read.text("aidboxClientId");
  const clientSecret = read.secret("aidboxClientSecret", (text) => text, "a secret");
  const more = {
    timeoutMs: read.durationMs("aidboxTimeout"),
    way: parseWay(read, "aidbox", problems),
    notifications: {
      heartbeat: read.text("aidboxHeartbeatNotification") ?? "",
      progress: read.text("aidboxProgressNotification") ?? "",
    },
  };
  if (url === undefined) {
    tellOfNoUrl(read, "aidboxUrl", ["aidboxClientId", "aidboxClientSecret"], problems);
    return undefined;
  }
  if (clientId === undefined || clientSecret === undefined) {
    problems.push(
      `${read.where("aidboxUrl")} needs ${envOf("aidboxClientId")} and ${envOf("aidboxClientSecret")}`,
    );
    return undefined;
  }
  return { base: baseUrl(url), clientId, clientSecret, ...more };
}

// Who gives a credential does not mean that the upstream is off.
function tellOfNoUrl(
  read: Reader,
  url: "orchestratorUrl" | "aidboxUrl",
  credentials: readonly ("orchestratorToken" | "aidboxClientId" | "aidboxClientSecret")[],
  problems: string[],
): void {
  const given = credentials.find((name) => read.isGiven(name));
  if (given !== undefined && !read.isGiven(url)) {
    problems.push(`${read.where(given)} needs ${envOf(url)}`);
  }
}

function baseUrl(url: URL): BaseUrl {
  return { origin: url.origin, path: url.pathname.replace(/\/+$/, "") };
}
