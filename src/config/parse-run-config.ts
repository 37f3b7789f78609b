import { WaitFor } from "../../gen/taskgate/v1/receipt_pb.ts";
import { OnLost } from "../../gen/taskgate/v1/session_pb.ts";
import { type ListenAddress, parseListenAddress } from "../model/listen-address.ts";
import { parseUuid } from "../model/uuid.ts";
import type { SettingSources } from "./given-settings.ts";
import { type RunSettingName, runSettings } from "./run-settings.ts";
import { envName } from "./setting.ts";
import { createSettingReader, parseHttpUrl, type SettingReader } from "./setting-reader.ts";

/** Where a gateway is reached. */
export type GatewayAddress =
  | { readonly kind: "url"; readonly url: string }
  /**
   * Where it listens, as itself would be told; with `cert` it is reached by TLS and has
   * this certificate. With `clientCa` it wants one of its callers, and `key` is its own.
   */
  | {
      readonly kind: "listen";
      readonly listen: ListenAddress;
      readonly cert?: string | undefined;
      readonly key?: string | undefined;
      readonly clientCa?: string | undefined;
    };

/** What a command reports on. */
export type RunSubject =
  /** An empty id is the run that Orchestra gave the gateway. */
  | { readonly kind: "run"; readonly taskRunId: string; readonly attempt: number | undefined }
  | { readonly kind: "callback"; readonly target: CallbackName; readonly jobId: string };

/** A callback, by one of its names. */
export type CallbackName =
  | { readonly case: "callbackRoute"; readonly value: string }
  | { readonly case: "callbackUrl"; readonly value: string };

/** What `taskgate run` runs with. Every value is checked, every default is filled in. */
export interface RunConfig {
  gateway: GatewayAddress;
  token: string | undefined;
  subject: RunSubject;
  onLost: OnLost;
  onCancel: "terminate" | "ignore";
  /** At most one message in this time. Undefined: none. */
  messagesMs: number | undefined;
  /** Undefined: the output is not sent. */
  logName: string | undefined;
  waitFor: WaitFor;
  reportTimeoutMs: number;
}

/** A configuration, or all that is wrong with what was given, a sentence each. */
export type RunConfigResult = { readonly config: RunConfig } | { readonly problems: readonly string[] };

type Reader = SettingReader<typeof runSettings>;

/** Reads what `taskgate run` runs with. Pure but for `readFile`. */
export function parseRunConfig(sources: SettingSources<RunSettingName>): RunConfigResult {
  const problems: string[] = [];
  const read = createSettingReader(runSettings, sources, problems);
  const config: RunConfig = {
    gateway: parseGateway(read, problems),
    token: firstToken(read, "authToken") ?? firstToken(read, "adminToken"),
    subject: parseSubject(read, problems),
    onLost: read.choice("onLost", onLostWords) ?? OnLost.FAIL,
    onCancel: read.choice("onCancel", onCancelWords) ?? "terminate",
    messagesMs: read.isGiven("messages") ? read.durationMs("messages") : undefined,
    logName: read.text("log"),
    waitFor: read.choice("waitFor", waitForWords) ?? WaitFor.STORED,
    reportTimeoutMs: read.durationMs("reportTimeout"),
  };
  return problems.length > 0 ? { problems } : { config };
}

const onLostWords = new Map([
  ["fail", OnLost.FAIL],
  ["ignore", OnLost.IGNORE],
]);
const onCancelWords = new Map<string, RunConfig["onCancel"]>([
  ["terminate", "terminate"],
  ["ignore", "ignore"],
]);
const waitForWords = new Map([
  ["stored", WaitFor.STORED],
  ["delivered", WaitFor.DELIVERED],
]);

// Of several it shows the first.
function firstToken(read: Reader, name: "authToken" | "adminToken"): string | undefined {
  const tokens = read.tokens(name);
  return tokens?.parse(tokens.text())?.[0];
}

function parseGateway(read: Reader, problems: string[]): GatewayAddress {
  const text = read.text("gateway");
  if (text === undefined) {
    const listen = read.address("listen") ?? { kind: "tcp", host: "127.0.0.1", port: 0 };
    return { kind: "listen", listen, cert: read.file("tlsCert")?.text() };
  }
  const listen = parseListenAddress(text);
  if (listen?.kind === "unix") {
    return { kind: "listen", listen, cert: undefined };
  }
  const url = parseHttpUrl(text);
  if (url === undefined || url.search !== "") {
    problems.push(`${read.where("gateway")} must be http://HOST:PORT, https://HOST or unix:PATH`);
  }
  return { kind: "url", url: (url?.href ?? "").replace(/\/+$/, "") };
}

function parseSubject(read: Reader, problems: string[]): RunSubject {
  const route = read.text("callbackRoute");
  const url = read.text("callbackUrl");
  if (route !== undefined && url !== undefined) {
    problems.push(`${env("callbackRoute")} and ${env("callbackUrl")} exclude each other`);
  }
  if (route !== undefined || url !== undefined) {
    const target: CallbackName =
      url === undefined ? { case: "callbackRoute", value: route ?? "" } : { case: "callbackUrl", value: url };
    return { kind: "callback", target, jobId: read.text("jobId") ?? "" };
  }
  const id = read.text("taskRunId");
  const taskRunId = id === undefined ? "" : parseUuid(id);
  if (taskRunId === undefined) {
    problems.push(`${read.where("taskRunId")} must be a UUID`);
  }
  return { kind: "run", taskRunId: taskRunId ?? "", attempt: parseAttempt(read, problems) };
}

function parseAttempt(read: Reader, problems: string[]): number | undefined {
  const text = read.text("attempt");
  if (text === undefined) {
    return undefined;
  }
  const attempt = Number(text);
  if (!/^\d+$/.test(text) || attempt >= 2 ** 31) {
    problems.push(`${read.where("attempt")} must be a number from 0`);
  }
  return attempt;
}

function env(name: RunSettingName): string {
  return envName(name, runSettings[name]);
}
