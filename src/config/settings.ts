import { limitSettings } from "./limit-settings.ts";
import { envName, type SettingTable } from "./setting.ts";

// A row here is all that a setting needs to be known to `taskgate.yaml`, the
// environment, the command line, `taskgate help` and docs/configuration.md;
// parse-config.ts puts its value into the configuration.

/** Where the other settings are written; not one that is written there. */
export const configOptions = {
  config: {
    kind: "path",
    doc: "the file with the settings; without it the usual one is read where it is there",
    default: "taskgate.yaml",
  },
} as const satisfies SettingTable;

const listeners = {
  listen: { kind: "address", doc: "where the RPCs are served", default: "127.0.0.1:7450" },
  socketMode: {
    kind: "text",
    doc: "permissions of a Unix socket; whoever may write to it may call",
    default: "0660",
  },
  socketGroup: {
    kind: "text",
    doc: "the group of a Unix socket: its number, or a name that the machine knows",
  },
  opsListen: { kind: "tcpAddress", doc: "where the probes are served", default: "127.0.0.1:7451" },
  tlsCert: { kind: "file", doc: "the certificate chain, as PEM; turns TLS on" },
  tlsKey: { kind: "file", doc: "the certificate's key, as PEM" },
  tlsClientCa: { kind: "file", doc: "the CA of client certificates, which are then required, as PEM" },
  insecureListen: { kind: "boolean", doc: "listen beyond this machine without TLS", default: "false" },
  allowedOrigins: { kind: "list", doc: "origins of browser pages that may call" },
  fastLane: {
    kind: "boolean",
    doc: "serve plain gRPC calls and streams without the adapter",
    default: "true",
  },
} as const satisfies SettingTable;

const callers = {
  authToken: { kind: "secret", doc: "bearer token of workers and clients" },
  adminToken: { kind: "secret", doc: "bearer token of operators, who may do everything" },
} as const satisfies SettingTable;

const orchestra = {
  orchestraWebhookUrl: {
    kind: "webhookUrl",
    doc: "Orchestra's webhook",
    env: "ORCHESTRA_WEBHOOK_URL",
    default: "https://webhook.getorchestra.io",
  },
  orchestraApiKey: {
    kind: "secret",
    doc: "Orchestra's API key; turns Orchestra on",
    env: "ORCHESTRA_API_KEY",
  },
  orchestraTaskRunId: {
    kind: "text",
    doc: "the task run that requests mean when they name none",
    env: "ORCHESTRA_TASK_RUN_ID",
  },
  orchestraTaskAttemptNumber: {
    kind: "text",
    doc: "which attempt of that run this is",
    env: "ORCHESTRA_TASK_ATTEMPT_NUMBER",
  },
  orchestraTimeout: { kind: "duration", doc: "how long one request to Orchestra may take", default: "15s" },
  orchestraCa: {
    kind: "file",
    doc: "the CA certificates that are trusted for Orchestra in place of the usual ones, as PEM",
  },
  orchestraProxy: {
    kind: "url",
    doc: "the proxy through which Orchestra is called, which then decides about addresses; no variable such as HTTPS_PROXY counts",
  },
  orchestraProxyCredentials: { kind: "secret", doc: "user and password for that proxy, with `:` between" },
} as const satisfies SettingTable;

const orchestrator = {
  orchestratorUrl: { kind: "urls", doc: "base URLs of Workflow Orchestrators; turns it on" },
  orchestratorToken: {
    kind: "secret",
    doc: "bearer token for the Workflow Orchestrator; with several, one each with commas between, or none for one of them",
  },
  orchestratorTimeout: {
    kind: "duration",
    doc: "how long one request to a Workflow Orchestrator may take",
    default: "60s",
  },
  orchestratorCa: {
    kind: "file",
    doc: "the CA certificates that are trusted for the Workflow Orchestrator in place of the usual ones, as PEM",
  },
  orchestratorProxy: {
    kind: "url",
    doc: "the proxy through which the Workflow Orchestrator is called, which then decides about addresses; no variable such as HTTPS_PROXY counts",
  },
  orchestratorProxyCredentials: { kind: "secret", doc: "user and password for that proxy, with `:` between" },
} as const satisfies SettingTable;

const aidbox = {
  aidboxUrl: { kind: "url", doc: "Aidbox's base URL; turns Aidbox on" },
  aidboxClientId: { kind: "text", doc: "the client that the gateway is to Aidbox" },
  aidboxClientSecret: { kind: "secret", doc: "that client's secret" },
  aidboxTimeout: {
    kind: "duration",
    doc: "how long one call to Aidbox may take, beyond the timeout of a long-poll",
    default: "15s",
  },
  aidboxHeartbeatNotification: {
    kind: "text",
    doc: "how awf.task/notify names a heartbeat",
    default: "awf.task/heartbeat",
  },
  aidboxProgressNotification: {
    kind: "text",
    doc: "how awf.task/notify names a progress",
    default: "awf.task/progress",
  },
  aidboxCa: {
    kind: "file",
    doc: "the CA certificates that are trusted for Aidbox in place of the usual ones, as PEM",
  },
  aidboxProxy: {
    kind: "url",
    doc: "the proxy through which Aidbox is called, which then decides about addresses; no variable such as HTTPS_PROXY counts",
  },
  aidboxProxyCredentials: { kind: "secret", doc: "user and password for that proxy, with `:` between" },
} as const satisfies SettingTable;

const upstreams = {
  upstreamNetworks: {
    kind: "list",
    doc: "addresses that upstreams' names may have: `public`, `private`, `loopback`, or networks such as `10.1.0.0/16`; link-local and metadata addresses are never called",
    default: "public,private",
  },
} as const satisfies SettingTable;

const outbox = {
  dataDir: { kind: "path", doc: "directory of the outbox; one gateway at a time", default: ".taskgate" },
  databaseUrl: { kind: "secret", doc: "PostgreSQL for several gateways; not yet, and refused" },
  outboxMaxRows: { kind: "count", doc: "how many reports may wait per upstream", default: "1000000" },
  outboxMaxBytes: { kind: "bytes", doc: "how many bytes of them", default: "4GiB" },
  outboxRetention: {
    kind: "duration",
    doc: "how long reports that have ended, request ids and outcomes are remembered",
    default: "24h",
  },
} as const satisfies SettingTable;

const operation = {
  heartbeatInterval: { kind: "duration", doc: "how often a worker should beat", default: "10s" },
  leaseDuration: { kind: "duration", doc: "how long a silent task is believed to be alive", default: "30s" },
  drainTimeout: {
    kind: "duration",
    doc: "how long a stop may take, in which calls under way are answered and reports are sent",
    default: "25s",
  },
  minAccept: {
    kind: "duration",
    doc: "how long a stop still takes new connections and calls: for workers that are told to stop at the same time",
    default: "0s",
  },
  terminationLog: {
    kind: "path",
    doc: "file that is told how the gateway ended; in Kubernetes /dev/termination-log",
  },
} as const satisfies SettingTable;

const observation = {
  logLevel: { kind: "text", doc: "debug, info, warn, error or silent", default: "info" },
  logFormat: {
    kind: "text",
    doc: "json: a line of JSON per event; text: the same for people; auto: text on a terminal, else json",
    default: "auto",
  },
  otlpEndpoint: {
    kind: "url",
    doc: "base URL of a collector of traces, by OTLP over HTTP; turns tracing on",
    env: "OTEL_EXPORTER_OTLP_ENDPOINT",
  },
  otlpHeaders: {
    kind: "secret",
    doc: "headers for the collector: name=value, with commas between",
    env: "OTEL_EXPORTER_OTLP_HEADERS",
  },
  traceSampleRatio: {
    kind: "text",
    doc: "the part of the traces that begin here that is recorded, from 0 to 1; those of callers are as they say",
    default: "1",
  },
  otelResourceAttributes: {
    kind: "text",
    doc: "what spans are told to come from: name=value, with commas between; service.name is taskgate unless it is here",
    env: "OTEL_RESOURCE_ATTRIBUTES",
  },
} as const satisfies SettingTable;

/** The settings under their headings, as they are documented. */
export const settingGroups: readonly { readonly title: string; readonly settings: SettingTable }[] = [
  { title: "Listeners", settings: listeners },
  { title: "Callers", settings: callers },
  { title: "Orchestra", settings: orchestra },
  { title: "Workflow Orchestrator", settings: orchestrator },
  { title: "Aidbox", settings: aidbox },
  { title: "All upstreams", settings: upstreams },
  { title: "Outbox", settings: outbox },
  { title: "Leases and stopping", settings: operation },
  { title: "Limits", settings: limitSettings },
  { title: "Logs and traces", settings: observation },
];

/** All settings. */
export const settings = {
  ...listeners,
  ...callers,
  ...orchestra,
  ...orchestrator,
  ...aidbox,
  ...upstreams,
  ...outbox,
  ...operation,
  ...limitSettings,
  ...observation,
} as const;

export type SettingName = keyof typeof settings;

/** The variable of a setting of the gateway. */
export function envOf(name: SettingName): string {
  return envName(name, settings[name]);
}
