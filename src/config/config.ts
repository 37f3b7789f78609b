import type { Role } from "../../gen/taskgate/v1/gateway_pb.ts";
import type { Limits } from "../model/limits.ts";
import type { ListenAddress, SocketAccess, TcpAddress } from "../model/listen-address.ts";
import type { PeerLimits } from "../model/peer-limits.ts";
import type { RunKey } from "../model/run-report.ts";
import type { Secret } from "../model/secret.ts";
import type { UpstreamNetworks } from "../model/upstream-networks.ts";
import type { UpstreamWay } from "../model/upstream-way.ts";
import type { WorkDefinitions } from "../model/work-pool.ts";

/** A base URL, taken apart and checked. */
export interface BaseUrl {
  /** Scheme, host and port. */
  origin: string;
  /** Without a trailing slash; empty for the root. */
  path: string;
}

/** Somebody who may call, and shows a token. */
export interface CallerConfig {
  /** By which it owns what it has named. */
  name: string;
  roles: readonly Role[];
  /** Each may hold several. */
  tokens: readonly Secret<readonly string[]>[];
  /** The definitions of Aidbox that it may have to do with. Undefined: all. */
  definitions: WorkDefinitions | undefined;
}

/** What the gateway runs with. Every value is checked, every default is filled in. */
export interface Config {
  listen: ListenAddress;
  /** Who may connect, where `listen` is a Unix socket. */
  socketAccess: SocketAccess;
  /** Undefined: no probes. */
  opsListen: TcpAddress | undefined;
  orchestra:
    | {
        origin: string;
        webhookPath: string;
        apiKey: Secret;
        timeoutMs: number;
        way: UpstreamWay;
        defaultRun: RunKey | undefined;
      }
    | undefined;
  orchestrator:
    | {
        bases: readonly BaseUrl[];
        /** One for each base; undefined for none of them. */
        tokens: Secret<readonly (string | undefined)[]> | undefined;
        timeoutMs: number;
        way: UpstreamWay;
      }
    | undefined;
  aidbox:
    | {
        base: BaseUrl;
        clientId: string;
        clientSecret: Secret;
        timeoutMs: number;
        way: UpstreamWay;
        notifications: { heartbeat: string; progress: string };
      }
    | undefined;
  /** The addresses that the names of upstreams may have. */
  upstreamNetworks: UpstreamNetworks;
  outbox: {
    /** Where reports are stored. */
    directory: string;
    /** How much may wait per upstream. */
    maxRows: number;
    maxBytes: number;
    /** How long what has ended is remembered. */
    retentionMs: number;
  };
  /** Who may call. Empty: everyone, on this machine. */
  callers: readonly CallerConfig[];
  allowedOrigins: readonly string[];
  /** PEM texts. */
  tls: { cert: Secret; key: Secret; clientCa: Secret | undefined } | undefined;
  heartbeatIntervalMs: number;
  leaseDurationMs: number;
  drainTimeoutMs: number;
  /** How long a stop takes new calls; at most `drainTimeoutMs`. */
  minAcceptMs: number;
  /** The file that is told how the gateway ended; undefined: none. */
  terminationLog: string | undefined;
  fastLane: boolean;
  logLevel: string;
  logFormat: "auto" | "json" | "text";
  tracing:
    | {
        /** Base URL of the collector, without a trailing slash. */
        endpoint: string;
        headers: Secret<Record<string, string>> | undefined;
        sampleRatio: number;
        resource: Record<string, string>;
      }
    | undefined;
  limits: Limits;
  peerLimits: PeerLimits;
}
