import type { Config } from "./config/config.ts";
import type { UpstreamCapabilities } from "./model/capabilities.ts";
import type { DeliveryUpstream } from "./model/delivery.ts";
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

/** Creates the upstreams of a configuration, each origin with connections of its own. */
export function createUpstreams(config: Config, now: () => number): Upstreams {
  const clients = new Map<string, HttpClient>();
  // One set of connections per origin and purpose.
  function httpOf(upstream: keyof typeof maxResponseBytes, origin: string, purpose = ""): HttpClient {
    const name = `${upstream} ${origin} ${purpose}`;
    const client =
      clients.get(name) ??
      createHttpClient({
        origin,
        connections,
        maxResponseBytes: maxResponseBytes[upstream],
        connectTimeoutMs,
      });
    clients.set(name, client);
    return client;
  }

  const orchestra =
    config.orchestra &&
    createOrchestra({
      http: httpOf("orchestra", config.orchestra.origin),
      webhookPath: config.orchestra.webhookPath,
      apiKey: constant(config.orchestra.apiKey),
      timeoutMs: config.orchestra.timeoutMs,
      now,
    });

  const bases = new Map(
    config.orchestrator?.bases.map(({ origin, path, token }) => [
      origin + path,
      { http: httpOf("orchestrator", origin), basePath: path, token: constant(token) },
    ]),
  );
  const orchestrator = createOrchestrator({ bases, timeoutMs: config.orchestrator?.timeoutMs ?? 0, now });

  const aidboxRpc = ({ base, ...credentials }: NonNullable<Config["aidbox"]>, http: HttpClient) =>
    createAidboxRpc({ http, basePath: base.path, credentials: constant(credentials), now });
  const aidbox =
    config.aidbox &&
    createAidbox({
      rpc: aidboxRpc(config.aidbox, httpOf("aidbox", config.aidbox.base.origin)),
      longPollRpc: aidboxRpc(config.aidbox, httpOf("aidbox", config.aidbox.base.origin, "long-poll")),
      workPollRpc: aidboxRpc(config.aidbox, httpOf("aidbox", config.aidbox.base.origin, "work-poll")),
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
