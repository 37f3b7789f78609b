/**
 * One setting: one name in two spellings, `leaseDuration` as the flag
 * `--lease-duration` and as the variable `TASKGATE_LEASE_DURATION`.
 */
export interface Setting {
  /** What it means, for `taskgate --help` and the reference. */
  readonly doc: string;
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
    default: "127.0.0.1:7450",
  },
  opsListen: {
    doc: "host:port for probes; off turns it off",
    default: "127.0.0.1:7451",
  },
  orchestraWebhookUrl: {
    doc: "Orchestra's webhook",
    env: "ORCHESTRA_WEBHOOK_URL",
    default: "https://webhook.getorchestra.io",
  },
  orchestraApiKey: {
    doc: "Orchestra's API key; turns Orchestra on",
    env: "ORCHESTRA_API_KEY",
    isSecret: true,
  },
  orchestraTaskRunId: {
    doc: "the task run that requests mean when they name none",
    env: "ORCHESTRA_TASK_RUN_ID",
  },
  orchestraTaskAttemptNumber: {
    doc: "which attempt of that run this is",
    env: "ORCHESTRA_TASK_ATTEMPT_NUMBER",
  },
  orchestraTimeout: { doc: "how long one request to Orchestra may take", default: "15s" },
  orchestratorUrl: {
    doc: "base URLs of Workflow Orchestrators, with commas between; turns it on",
  },
  orchestratorToken: {
    doc: "bearer token for the Workflow Orchestrator; with several, one each with commas between, or none for one of them",
    isSecret: true,
  },
  orchestratorTimeout: {
    doc: "how long one request to a Workflow Orchestrator may take",
    default: "60s",
  },
  aidboxUrl: { doc: "Aidbox's base URL; turns Aidbox on" },
  aidboxClientId: { doc: "the client that the gateway is to Aidbox" },
  aidboxClientSecret: { doc: "that client's secret", isSecret: true },
  aidboxTimeout: {
    doc: "how long one call to Aidbox may take, beyond the timeout of a long-poll",
    default: "15s",
  },
  aidboxHeartbeatNotification: {
    doc: "how awf.task/notify names a heartbeat",
    default: "awf.task/heartbeat",
  },
  aidboxProgressNotification: {
    doc: "how awf.task/notify names a progress",
    default: "awf.task/progress",
  },
  dataDir: { doc: "directory of the outbox; one gateway at a time", default: ".taskgate" },
  databaseUrl: { doc: "PostgreSQL for several gateways; not yet, and refused", isSecret: true },
  outboxMaxRows: { doc: "how many reports may wait per upstream", default: "1000000" },
  outboxMaxBytes: { doc: "how many bytes of them", default: "4294967296" },
  outboxRetention: {
    doc: "how long reports that have ended, request ids and outcomes are remembered",
    default: "24h",
  },
  authToken: { doc: "bearer token of workers and clients", isSecret: true },
  adminToken: { doc: "bearer token of operators, who may do everything", isSecret: true },
  allowedOrigins: {
    doc: "origins of browser pages that may call, with commas between",
  },
  insecureListen: {
    doc: "listen beyond this machine without TLS",
    default: "false",
  },
  tlsCert: { doc: "file with the certificate chain; turns TLS on" },
  tlsKey: { doc: "file with the certificate's key" },
  tlsClientCa: { doc: "file with the CA of client certificates, which are then required" },
  heartbeatInterval: { doc: "how often a worker should beat", default: "10s" },
  leaseDuration: {
    doc: "how long a silent task is believed to be alive",
    default: "30s",
  },
  drainTimeout: {
    doc: "how long a stop waits for what is under way",
    default: "25s",
  },
  fastLane: {
    doc: "serve plain unary gRPC calls without the adapter",
    default: "true",
  },
  logLevel: { doc: "info, warn, error or silent", default: "info" },
} as const satisfies Record<string, Setting>;

export type SettingName = keyof typeof settings;

/** The variable of a setting of the gateway. */
export function envOf(name: SettingName): string {
  return settingEnv(name, settings[name]);
}

/** The flag of a setting of the gateway, without its dashes; of a secret, the flag for its file. */
export function flagOf(name: SettingName): string {
  return settingFlag(name, settings[name]);
}

/** The variable of a setting in any table. */
export function settingEnv(name: string, setting: Setting): string {
  return setting.env ?? `TASKGATE_${snake(name).toUpperCase()}`;
}

/** The flag of a setting in any table, as `flagOf`. */
export function settingFlag(name: string, setting: Setting): string {
  const flag = snake(name).replaceAll("_", "-");
  return setting.isSecret === true ? `${flag}-file` : flag;
}

function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
