import type { Config } from "./config/config.ts";
import type { UpstreamCapabilities } from "./model/capabilities.ts";
import type { DeliveryUpstream } from "./model/delivery.ts";
import { type Aidbox, aidboxCapabilities, createAidbox } from "./upstream/aidbox.ts";
import { createAidboxRpc } from "./upstream/aidbox-rpc.ts";
import { createHttpClient, type HttpClient } from "./upstream/http-client.ts";
import { createOrchestra, orchestraCapabilities } from "./upstream/orchestra.ts";
import { createOrchestrator, type Orchestrator, orchestratorCapabilities } from "./upstream/orchestrator.ts";

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

/** Creates the upstreams of a configuration, each origin with connections of its own. */
export function createUpstreams(config: Config, now: () => number): Upstreams {
  const clients = new Map<string, HttpClient>();
  function httpOf(origin: string): HttpClient {
    const client =
      clients.get(origin) ??
      createHttpClient({
        origin,
        connections: 64,
        maxResponseBytes: 16 * 1024 * 1024,
        connectTimeoutMs: 5000,
      });
    clients.set(origin, client);
    return client;
  }

  const orchestra =
    config.orchestra &&
    createOrchestra({
      http: httpOf(config.orchestra.origin),
      webhookPath: config.orchestra.webhookPath,
      apiKey: constant(config.orchestra.apiKey),
      timeoutMs: config.orchestra.timeoutMs,
      now,
    });

  const bases = new Map(
    config.orchestrator?.bases.map(({ origin, path }) => [
      origin + path,
      { http: httpOf(origin), basePath: path, token: constant(config.orchestrator?.token) },
    ]),
  );
  const orchestrator = createOrchestrator({ bases, timeoutMs: config.orchestrator?.timeoutMs ?? 0, now });

  const aidbox =
    config.aidbox &&
    createAidbox({
      rpc: createAidboxRpc({
        http: httpOf(config.aidbox.base.origin),
        basePath: config.aidbox.base.path,
        credentials: constant(config.aidbox),
        now,
      }),
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

function constant<Value>(value: Value): () => Value {
  return () => value;
}
