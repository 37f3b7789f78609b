import type { LookupFunction } from "node:net";
import { type Dispatcher, Pool, ProxyAgent } from "undici";
import { createGuardedConnect, createGuardedLookup } from "./guarded-connect.ts";

export interface DispatcherOptions {
  /** Scheme, host and port of the upstream. */
  origin: string;
  /** How many connections may be open at once, each with one request at a time. */
  connections: number;
  /** How long a connection may take to be made, TLS included. */
  connectTimeoutMs: number;
  /** What is wrong with calling an address, as the end of a sentence; undefined: nothing. */
  addressProblem: (address: string) => string | undefined;
  /** Finds the addresses of names. Default: the system's resolver. */
  lookup?: LookupFunction | undefined;
  /** The CA certificates that are trusted now in place of the usual ones, as PEM. Default: the usual ones. */
  ca?: (() => string) | undefined;
  /** A proxy to go through. Default: none, whatever the environment says. */
  proxy?: ProxyOptions | undefined;
}

/** An outgoing proxy: with CONNECT for https, and as RFC 9112 has it for http. */
export interface ProxyOptions {
  /** Scheme, host and port. */
  origin: string;
  /** What is wrong with calling an address of its name; undefined: nothing. */
  addressProblem: (address: string) => string | undefined;
  /** User and password now, with a colon between. Default: none. */
  credentials?: (() => string) | undefined;
}

/** What sends requests. */
export interface RequestDispatcher {
  dispatch(
    request: Dispatcher.DispatchOptions & { origin: string },
    handler: Dispatcher.DispatchHandler,
  ): boolean;
  /** Ends all connections, at once. */
  destroy(): Promise<void>;
}

/** Creates what sends requests to an upstream. */
export function createDispatcher(options: DispatcherOptions): RequestDispatcher {
  const { origin, connections, connectTimeoutMs, lookup, ca, proxy } = options;
  const pooling: Pool.Options = {
    connections,
    pipelining: 1,
    // Each request has one deadline for all of it; these two would only end it
    // some time later or, with a body that drips, never.
    headersTimeout: 0,
    bodyTimeout: 0,
    allowH2: false,
  };
  if (proxy === undefined) {
    const connect = createGuardedConnect({
      problemOf: options.addressProblem,
      timeoutMs: connectTimeoutMs,
      lookup,
      ca,
    });
    return new Pool(origin, { ...pooling, connect });
  }
  return throughProxy(options, proxy, pooling);
}

// Its agent takes certificates once, so other ones need another agent.
function throughProxy(
  { connectTimeoutMs, lookup, ca }: DispatcherOptions,
  proxy: ProxyOptions,
  pooling: Pool.Options,
): RequestDispatcher {
  const { credentials } = proxy;
  const agents = new Set<ProxyAgent>();
  let trusted: string | undefined;
  let current: ProxyAgent | undefined;

  function createAgent(): ProxyAgent {
    return new ProxyAgent({
      ...pooling,
      uri: proxy.origin,
      connectTimeout: connectTimeoutMs,
      headers: credentials === undefined ? {} : authorizedBy(credentials),
      proxyTls: { lookup: createGuardedLookup({ problemOf: proxy.addressProblem, lookup }) },
      requestTls: trusted === undefined ? {} : { ca: trusted },
      factory: (target, own) => new Pool(target, { ...pooling, ...own }),
      // One that takes a connection and never says whether it goes on.
      clientFactory: (url, own) => new Pool(url, { ...own, headersTimeout: connectTimeoutMs }),
    });
  }

  return {
    dispatch(request, handler) {
      const text = ca?.();
      if (current === undefined || text !== trusted) {
        const before = current;
        trusted = text;
        current = createAgent();
        agents.add(current);
        void before?.close().then(() => agents.delete(before));
      }
      return current.dispatch(request, handler);
    },
    async destroy() {
      await Promise.all(Array.from(agents, (agent) => agent.destroy()));
    },
  };
}

// Read for each connection: they may be other ones by then.
function authorizedBy(credentials: () => string): { readonly "proxy-authorization": string } {
  return {
    get "proxy-authorization"() {
      return `Basic ${Buffer.from(credentials()).toString("base64")}`;
    },
  };
}
