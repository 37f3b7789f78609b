import type { LookupFunction } from "node:net";
import type { Config } from "./config/config.ts";
import type { GatewaySecrets } from "./gateway-secrets.ts";
import type { UpstreamCapabilities } from "./model/capabilities.ts";
import { constantCredential } from "./model/credential.ts";
import type { DeliveryUpstream } from "./model/delivery.ts";
import type { RequestKind, RequestObserver } from "./model/request-observer.ts";
import { addressProblem, networksOf } from "./model/upstream-networks.ts";
import { type Aidbox, aidboxCapabilities, createAidbox } from "./upstream/aidbox.ts";
import { createAidboxRpc } from "./upstream/aidbox-rpc.ts";
import { createHttpClient, type HttpClient } from "./upstream/http-client.ts";
import { createOrchestra, orchestraCapabilities } from "./upstream/orchestra.ts";
import { createOrchestrator, type Orchestrator, orchestratorCapabilities } from "./upstream/orchestrator.ts";

const connections = 64;
// Aidbox's lists have no paging; the others say a sentence.
const maxResponseBytes = { aidbox: 8 * 1024 * 1024, orchestra: 256 * 1024, orchestrator: 256 * 1024 };
const connectTimeoutMs = 5000;

/** An upstream as `GetInfo` tells of it. */
export interface UpstreamInfo {
  name: string;
  configured: boolean;
  capabilities: UpstreamCapabilities;
}

/** The upstreams that the gateway is configured with. */
export interface Upstreams {
  orchestra: DeliveryUpstream | undefined;
  /** Without a configured base it knows no callback. */
  orchestrator: Orchestrator;
  aidbox: Aidbox | undefined;
  /** Base URLs of callbacks, without a trailing slash. */
  callbackBases: readonly string[];
  /** What the gateway can do with each, and which it is configured with. */
  infos: readonly UpstreamInfo[];
  /** Those that deliveries can be sent to, by name. */
  byName: ReadonlyMap<string, DeliveryUpstream>;
  /** Ends all connections, at once. */
  close(): Promise<void>;
}

/** Gives the observer of the requests of one kind to one upstream. */
export type ObserveRequests = (upstream: string, kind: RequestKind) => RequestObserver;

type UpstreamName = keyof typeof maxResponseBytes;

/**
 * Creates the upstreams of a configuration, each origin with connections of its
 * own. They are told that taskgate of this version asks.
 *
 * @param lookup finds the addresses of their names; undefined: the system's resolver
 */
export function createUpstreams(
  config: Config,
  secrets: GatewaySecrets,
  version: string,
  now: () => number,
  observe?: ObserveRequests,
  lookup?: LookupFunction | undefined,
): Upstreams {
  const clients = new Map<string, HttpClient>();
  // One set of connections per origin and kind of request.
  function httpOf(upstream: UpstreamName, origin: string, kind: RequestKind = "call"): HttpClient {
    const name = `${upstream} ${origin} ${kind}`;
    const problemOf = (called: string) => {
      const networks = networksOf(called, config.upstreamNetworks);
      return (address: string) => addressProblem(address, networks);
    };
    const { ca, proxy } = config[upstream]?.way ?? {};
    const client =
      clients.get(name) ??
      createHttpClient({
        origin,
        connections,
        maxResponseBytes: maxResponseBytes[upstream],
        connectTimeoutMs,
        observer: observe?.(upstream, kind),
        addressProblem: problemOf(origin),
        ca: ca && secrets.live(ca),
        proxy: proxy && {
          origin: proxy.origin,
          addressProblem: problemOf(proxy.origin),
          credentials: proxy.credentials && secrets.live(proxy.credentials),
        },
        lookup,
        userAgent: `taskgate/${version}`,
      });
    clients.set(name, client);
    return client;
  }

  const orchestra =
    config.orchestra &&
    createOrchestra({
      http: httpOf("orchestra", config.orchestra.origin),
      webhookPath: config.orchestra.webhookPath,
      apiKey: secrets.credential(config.orchestra.apiKey, whole),
      timeoutMs: config.orchestra.timeoutMs,
      now,
    });

  const tokens = config.orchestrator?.tokens;
  const bases = new Map(
    config.orchestrator?.bases.map(({ origin, path }, index) => [
      origin + path,
      {
        http: httpOf("orchestrator", origin),
        basePath: path,
        token: tokens
          ? secrets.credential(tokens, (all) => all[index])
          : constantCredential<string | undefined>(undefined),
      },
    ]),
  );
  const orchestrator = createOrchestrator({ bases, timeoutMs: config.orchestrator?.timeoutMs ?? 0, now });

  const aidboxRpc = ({ base, clientId, clientSecret }: NonNullable<Config["aidbox"]>, http: HttpClient) =>
    createAidboxRpc({
      http,
      basePath: base.path,
      clientId,
      clientSecret: secrets.credential(clientSecret, whole),
      now,
    });
  const aidbox =
    config.aidbox &&
    createAidbox({
      rpc: aidboxRpc(config.aidbox, httpOf("aidbox", config.aidbox.base.origin)),
      longPollRpc: aidboxRpc(config.aidbox, httpOf("aidbox", config.aidbox.base.origin, "long_poll")),
      workPollRpc: aidboxRpc(config.aidbox, httpOf("aidbox", config.aidbox.base.origin, "work_poll")),
      timeoutMs: config.aidbox.timeoutMs,
      notifications: config.aidbox.notifications,
    });

  return {
    orchestra,
    orchestrator,
    aidbox,
    callbackBases: [...bases.keys()],
    infos: [
      { name: "orchestra", configured: orchestra !== undefined, capabilities: orchestraCapabilities },
      { name: "orchestrator", configured: bases.size > 0, capabilities: orchestratorCapabilities },
      { name: "aidbox", configured: aidbox !== undefined, capabilities: aidboxCapabilities },
    ],
    byName: new Map<string, DeliveryUpstream>([
      ...(orchestra ? [["orchestra", orchestra] as const] : []),
      ["orchestrator", orchestrator],
      ...(aidbox ? [["aidbox", aidbox] as const] : []),
    ]),
    async close() {
      await Promise.all(Array.from(clients.values(), (client) => client.close()));
    },
  };
}

function whole(secret: string): string {
  return secret;
}
