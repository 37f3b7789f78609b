import { Code, createClient, createRouterTransport } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { Health } from "../../gen/grpc/health/v1/health_pb.ts";
import { createHealthRoute, createServingState, maxWatchers } from "../../src/rpc/health.ts";

test("S6 a thousand may watch, one more is refused, and who leaves makes room", async () => {
  const route = createHealthRoute(createServingState([]), new AbortController().signal);
  const client = createClient(
    Health,
    createRouterTransport((router) => router.service(Health, route.implementation)),
  );
  const leave = new AbortController();
  const watch = async (signal?: AbortSignal) => {
    const answers = client.watch({}, { signal: signal ?? new AbortController().signal });
    const iterator = answers[Symbol.asyncIterator]();
    await iterator.next();
    return iterator;
  };
  for (let count = 1; count < maxWatchers; count += 1) {
    await watch();
  }
  const last = await watch(leave.signal);
  await expect(watch()).rejects.toMatchObject({ code: Code.ResourceExhausted });
  leave.abort();
  await expect(last.next()).rejects.toMatchObject({ code: Code.Canceled });
  await expect(watch()).resolves.toBeDefined();
});
