/**
 * One setting: one name in two spellings, `leaseDuration` as the flag
 * `--lease-duration` and as the variable `TASKGATE_LEASE_DURATION`.
 */
export interface Setting {
  /** What it means, for `taskgate --help` and the reference. */
  readonly doc: string;
  /** How the value is written. */
  readonly kind: "address" | "url" | "urls" | "texts" | "duration" | "bytes" | "boolean" | "text" | "path";
  /** As it would be written. Undefined: none. */
  readonly default?: string;
  /** The variable, where it is not the name in capitals behind `TASKGATE_`. */
  readonly env?: string;
  /**
   * A secret: it has no flag, because arguments can be read by others. It is given
   * by the variable, or as a file by the variable and flag with `_FILE` behind.
   */
  readonly isSecret?: true;
}

/** All settings, in the order in which they are documented. */
export const settings = {
  listen: {
    doc: "RPC address: host:port, or unix:PATH",
    kind: "address",
    default: "127.0.0.1:7450",
  },
  opsListen: {
    doc: "address for probes; off turns it off",
    kind: "address",
    default: "127.0.0.1:7451",
  },
  orchestraWebhookUrl: {
    doc: "Orchestra's webhook",
    kind: "url",
    env: "ORCHESTRA_WEBHOOK_URL",
    default: "https://webhook.getorchestra.io",
  },
  orchestraApiKey: {
    doc: "Orchestra's API key; turns Orchestra on",
    kind: "text",
    env: "ORCHESTRA_API_KEY",
    isSecret: true,
  },
  orchestraTaskRunId: {
    doc: "the task run that requests mean when they name none",
    kind: "text",
    env: "ORCHESTRA_TASK_RUN_ID",
  },
  orchestraTaskAttemptNumber: {
    doc: "which attempt of that run this is",
    kind: "text",
    env: "ORCHESTRA_TASK_ATTEMPT_NUMBER",
  },
  orchestraTimeout: { doc: "how long one request to Orchestra may take", kind: "duration", default: "15s" },
  orchestratorUrl: {
    doc: "base URLs of Workflow Orchestrators, with commas between; turns it on",
    kind: "urls",
  },
  orchestratorToken: {
    doc: "bearer token for the Workflow Orchestrators",
    kind: "text",
    isSecret: true,
  },
  orchestratorTimeout: {
    doc: "how long one request to a Workflow Orchestrator may take",
    kind: "duration",
    default: "60s",
  },
  aidboxUrl: { doc: "Aidbox's base URL; turns Aidbox on", kind: "url" },
  aidboxClientId: { doc: "the client that the gateway is to Aidbox", kind: "text" },
  aidboxClientSecret: { doc: "that client's secret", kind: "text", isSecret: true },
  aidboxTimeout: {
    doc: "how long one call to Aidbox may take, beyond the timeout of a long-poll",
    kind: "duration",
    default: "15s",
  },
  aidboxHeartbeatNotification: {
    doc: "how awf.task/notify names a heartbeat",
    kind: "text",
    default: "awf.task/heartbeat",
  },
  aidboxProgressNotification: {
    doc: "how awf.task/notify names a progress",
    kind: "text",
    default: "awf.task/progress",
  },
  authToken: { doc: "bearer token of workers and clients", kind: "text", isSecret: true },
  adminToken: { doc: "bearer token of operators, who may do everything", kind: "text", isSecret: true },
  allowedOrigins: {
    doc: "origins of browser pages that may call, with commas between",
    kind: "texts",
  },
  insecureListen: {
    doc: "listen beyond this machine without TLS",
    kind: "boolean",
    default: "false",
  },
  tlsCert: { doc: "file with the certificate chain; turns TLS on", kind: "path" },
  tlsKey: { doc: "file with the certificate's key", kind: "path" },
  tlsClientCa: { doc: "file with the CA of client certificates, which are then required", kind: "path" },
  heartbeatInterval: { doc: "how often a worker should beat", kind: "duration", default: "10s" },
  leaseDuration: {
    doc: "how long a silent task is believed to be alive",
    kind: "duration",
    default: "30s",
  },
  drainTimeout: {
    doc: "how long a stop waits for what is under way",
    kind: "duration",
    default: "25s",
  },
  fastLane: {
    doc: "serve plain unary gRPC calls without the adapter",
    kind: "boolean",
    default: "true",
  },
  logLevel: { doc: "debug, info, warn, error or silent", kind: "text", default: "info" },
} as const satisfies Record<string, Setting>;

export type SettingName = keyof typeof settings;

/** The variable of a setting. */
export function envOf(name: SettingName): string {
  const setting: Setting = settings[name];
  return setting.env ?? `TASKGATE_${snake(name).toUpperCase()}`;
}

/** The flag of a setting, without its dashes; of a secret, the flag for its file. */
export function flagOf(name: SettingName): string {
  const setting: Setting = settings[name];
  const flag = snake(name).replaceAll("_", "-");
  return setting.isSecret === true ? `${flag}-file` : flag;
}

function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
