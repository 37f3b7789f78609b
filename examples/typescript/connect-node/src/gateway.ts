import { setTimeout as sleep } from "node:timers/promises";
import { Code, ConnectError, type Interceptor, type Transport } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";

/**
 * Connects to a gateway over gRPC in plain text. Without a deadline of its own a call
 * may take half a minute; a connection that does not answer pings is given up.
 *
 * @param address host:port
 * @param token of the caller; empty where the gateway asks for none
 */
export function connectGateway(address: string, token: string): Transport {
  const authorize: Interceptor = (next) => (request) => {
    if (token !== "") {
      request.header.set("authorization", `Bearer ${token}`);
    }
    return next(request);
  };
  return createGrpcTransport({
    baseUrl: `http://${address}`,
    interceptors: [retry, authorize],
    defaultTimeoutMs: 30_000,
    pingIntervalMs: 10_000,
    pingTimeoutMs: 5_000,
  });
}

// Makes a single call again that the gateway did not take, or may not have got.
const retry: Interceptor = (next) => async (request) => {
  for (let attempt = 1; ; attempt++) {
    try {
      return await next(request);
    } catch (error) {
      if (request.stream || attempt === 8 || !mayRepeat(error, request.message)) {
        throw error;
      }
      await sleep(Math.random() * Math.min(5000, 200 * 2 ** attempt));
    }
  }
};

// A call with an id of its own counts once, however often it arrives.
function mayRepeat(error: unknown, message: object): boolean {
  const { code, metadata } = ConnectError.from(error);
  const isBroken = !metadata.has("taskgate-reason");
  const hasId = "requestId" in message && message.requestId !== "";
  return code === Code.Unavailable || (isBroken && hasId);
}
