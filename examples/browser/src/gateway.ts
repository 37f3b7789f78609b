import { Code, ConnectError, type Interceptor, type Transport } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";

/**
 * Connects to a gateway over gRPC-Web. Without a deadline of its own a call may take
 * half a minute.
 *
 * @param baseUrl `http://host:port`
 * @param token of the caller; empty where the gateway asks for none
 */
export function connectGateway(baseUrl: string, token: string): Transport {
  const authorize: Interceptor = (next) => (request) => {
    if (token !== "") {
      request.header.set("authorization", `Bearer ${token}`);
    }
    return next(request);
  };
  return createGrpcWebTransport({
    baseUrl,
    interceptors: [retry, authorize],
    defaultTimeoutMs: 30_000,
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
      await new Promise((resolve) => setTimeout(resolve, Math.random() * Math.min(5000, 200 * 2 ** attempt)));
    }
  }
};

// A call with an id of its own counts once, however often it arrives.
function mayRepeat(error: unknown, message: object): boolean {
  const isRefused = ConnectError.from(error).code === Code.Unavailable;
  const hasId = "requestId" in message && message.requestId !== "";
  return isRefused || (hasId && isUnreachable(error));
}

/** Whether the gateway is away, or was not heard: what it says itself carries a reason. */
export function isUnreachable(error: unknown): boolean {
  const { code, metadata } = ConnectError.from(error);
  return code === Code.Unavailable || !metadata.has("taskgate-reason");
}
