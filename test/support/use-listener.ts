import http2 from "node:http2";
import { onTestFinished } from "vitest";
import { createBodyBudget } from "../../src/listener/body-budget.ts";
import { createCallPlaces } from "../../src/listener/call-places.ts";
import { type Listener, type ListenerOptions, listen } from "../../src/listener/listener.ts";
import { createRpcHandler, type RpcHandlerOptions } from "../../src/listener/rpc-handler.ts";
import { formatListenAddress } from "../../src/model/listen-address.ts";
import { defaultPeerLimits, type PeerLimits } from "../../src/model/peer-limits.ts";
import { describeError, tooManyCalls, tooManyUnfinishedBytes } from "../../src/rpc/errors.ts";

export interface UsedListener {
  listener: Listener;
  url: string;
  /** Errors that a caller sees only as internal. */
  unexpected: unknown[];
}

type UsedListenerOptions = Partial<Omit<ListenerOptions, "limits">> & { limits?: Partial<PeerLimits> };

/** Serves routes on a free port for the running test, through the real stack. */
export async function useListener(
  handlerOptions: Partial<RpcHandlerOptions> & Pick<RpcHandlerOptions, "routes">,
  { limits, ...listenerOptions }: UsedListenerOptions = {},
): Promise<UsedListener> {
  const unexpected: unknown[] = [];
  const handler = createRpcHandler({
    admit(head) {
      if (head.path === "" || head.host === "") {
        throw new Error("admission was asked without a head");
      }
    },
    calls: createCallPlaces(defaultPeerLimits.maxCalls, tooManyCalls(defaultPeerLimits.maxCalls)),
    describe: describeError,
    allowedOrigins: [],
    deadlines: { defaultMs: 10_000, maxMs: 20_000 },
    maxMessageBytes: 64 * 1024,
    bodyBudget: createBodyBudget(
      defaultPeerLimits.maxUnfinishedBytes,
      tooManyUnfinishedBytes(defaultPeerLimits.maxUnfinishedBytes),
    ),
    maxMessageMs: defaultPeerLimits.bodyTimeoutMs,
    maxExpansion: defaultPeerLimits.maxExpansion,
    fastLane: true,
    onUnexpectedError: (error) => unexpected.push(error),
    ...handlerOptions,
  });
  const listener = await listen({
    address: { kind: "tcp", host: "127.0.0.1", port: 0 },
    handler,
    limits: {
      ...defaultPeerLimits,
      maxConnections: 100,
      maxStreams: 100,
      firstByteTimeoutMs: 1000,
      ...limits,
    },
    pingIntervalMs: 10_000,
    ...listenerOptions,
  });
  onTestFinished(() => listener.close(1000));
  const scheme = listenerOptions.tls === undefined ? "http" : "https";
  return { listener, url: `${scheme}://${formatListenAddress(listener.address)}`, unexpected };
}

/** An HTTP/2 connection without any gRPC library, for the running test. */
export function useHttp2Session(
  url: string,
  options: http2.ClientSessionOptions | http2.SecureClientSessionOptions = {},
): http2.ClientHttp2Session {
  const session = http2.connect(url, options);
  session.on("error", () => undefined);
  onTestFinished(() => session.destroy());
  return session;
}

export interface RawResponse {
  headers: Record<string, unknown>;
  body: Buffer;
  trailers: Record<string, unknown>;
  /** The code of a reset; 0 is none. */
  rstCode: number;
}

/**
 * Sends one HTTP/2 request and collects everything that comes back, without what
 * differs from call to call (the date).
 */
export function sendRaw(
  session: http2.ClientHttp2Session,
  headers: http2.OutgoingHttpHeaders,
  body: Buffer | undefined,
): Promise<RawResponse> {
  return new Promise((resolve) => {
    const stream = session.request({ ":method": "POST", te: "trailers", ...headers });
    const response: RawResponse = { headers: {}, body: Buffer.alloc(0), trailers: {}, rstCode: 0 };
    stream.on("response", (received) => {
      response.headers = plain(received);
    });
    stream.on("trailers", (received) => {
      response.trailers = plain(received);
    });
    stream.on("data", (chunk: Buffer) => {
      response.body = Buffer.concat([response.body, chunk]);
    });
    stream.on("error", () => undefined);
    stream.on("close", () => {
      response.rstCode = stream.rstCode;
      resolve(response);
    });
    stream.end(body);
  });
}

function plain(headers: http2.IncomingHttpHeaders): Record<string, unknown> {
  // Node adds a symbol of its own, which entries leave out.
  return Object.fromEntries(Object.entries(headers).filter(([name]) => name !== "date"));
}
