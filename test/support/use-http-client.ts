import { onTestFinished } from "vitest";
import { createHttpClient, type HttpClient, type HttpClientOptions } from "../../src/upstream/http-client.ts";

/** An HTTP client to an origin, for the running test. */
export function useHttpClient(origin: string, options: Partial<HttpClientOptions> = {}): HttpClient {
  const client = createHttpClient({
    origin,
    connections: 8,
    maxResponseBytes: 64 * 1024,
    connectTimeoutMs: 1000,
    addressProblem: () => undefined,
    userAgent: "taskgate/1.2.3",
    ...options,
  });
  onTestFinished(() => client.close());
  return client;
}
