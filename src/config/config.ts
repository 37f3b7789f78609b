import type { Limits } from "../model/limits.ts";
import type { ListenAddress, TcpAddress } from "../model/listen-address.ts";
import type { RunKey } from "../model/run-report.ts";

/** A base URL, taken apart and checked. */
export interface BaseUrl {
  /** Scheme, host and port. */
  origin: string;
  /** Without a trailing slash; empty for the root. */
  path: string;
}

/** What the gateway runs with. Every value is checked, every default is filled in. */
export interface Config {
  listen: ListenAddress;
  /** Undefined: no probes. */
  opsListen: TcpAddress | undefined;
  orchestra:
    | {
        origin: string;
        webhookPath: string;
        apiKey: string;
        timeoutMs: number;
        defaultRun: RunKey | undefined;
      }
    | undefined;
  orchestrator:
    | { bases: readonly (BaseUrl & { token: string | undefined })[]; timeoutMs: number }
    | undefined;
  aidbox:
    | {
        base: BaseUrl;
        clientId: string;
        clientSecret: string;
        timeoutMs: number;
        notifications: { heartbeat: string; progress: string };
      }
    | undefined;
  outbox: {
    /** Where reports are stored. */
    directory: string;
    /** How much may wait per upstream. */
    maxRows: number;
    maxBytes: number;
    /** How long what has ended is remembered. */
    retentionMs: number;
  };
  authToken: string | undefined;
  adminToken: string | undefined;
  allowedOrigins: readonly string[];
  tls: { cert: string; key: string; clientCa?: string } | undefined;
  heartbeatIntervalMs: number;
  leaseDurationMs: number;
  drainTimeoutMs: number;
  fastLane: boolean;
  logLevel: string;
  limits: Limits;
}
