import { Code } from "@connectrpc/connect";
import type { Compression } from "@connectrpc/connect/protocol";
import { compressionGzip } from "@connectrpc/connect-node";
import { expect, test } from "vitest";
import { TaskStatusService } from "../../gen/taskgate/v1/task_status_pb.ts";
import { createBodyBudget } from "../../src/listener/body-budget.ts";
import { createBoundCompression } from "../../src/listener/bounded-compression.ts";
import { createRoute } from "../../src/model/route.ts";
import { tooManyUnfinishedBytes } from "../../src/rpc/errors.ts";
import { gzipFrame } from "../support/grpc-frame.ts";
import { sendRaw, useHttp2Session, useListener } from "../support/use-listener.ts";

const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

test("S4 two messages are decompressed at once in all codings, and all keep their room until then", async () => {
  const budget = createBodyBudget(40, tooManyUnfinishedBytes(40));
  const bound = createBoundCompression({ maxExpansion: 200, budget });
  const underWay: PromiseWithResolvers<void>[] = [];
  const slow = (name: string): Compression => ({
    name,
    compress: async (bytes) => new Uint8Array(bytes),
    async decompress(bytes) {
      const gate = Promise.withResolvers<void>();
      underWay.push(gate);
      await gate.promise;
      return new Uint8Array(bytes);
    },
  });
  const [gzip, brotli] = [bound(slow("gzip")), bound(slow("br"))];
  const ten = new Uint8Array(10);
  const all = [gzip, brotli, gzip, brotli].map(({ decompress }) => decompress(ten, 1000));
  await nextTurn();
  expect(underWay.length).toBe(2);
  await expect(gzip.decompress(ten, 1000)).rejects.toMatchObject({ code: Code.ResourceExhausted });
  underWay[0]?.resolve();
  await all[0];
  await nextTurn();
  expect(underWay.length).toBe(3);
  expect(budget.take(11)).toBe(false);
  expect(budget.take(10)).toBe(true);
  budget.give(10);
  underWay[1]?.resolve();
  underWay[2]?.reject(new Error("broken"));
  await Promise.allSettled(all.slice(0, 3));
  await nextTurn();
  underWay[3]?.resolve();
  await all[3];
  expect(budget.take(40)).toBe(true);
});

test.each([
  ["unary, in the lane", "UpdateTask", true],
  ["unary, beside the lane", "UpdateTask", false],
  ["a stream in the lane", "TrackRun", true],
  ["a stream beside the lane", "TrackRun", false],
])("S4 a compressed message keeps its room and gives it back: %s", async (_, method, fastLane) => {
  const body = gzipFrame(new TextEncoder().encode("\x7a\x04abcd"));
  const most = { bytes: 0 };
  let held = 0;
  const bodyBudget = {
    take(bytes: number) {
      held += bytes;
      most.bytes = Math.max(most.bytes, held);
      return true;
    },
    give(bytes: number) {
      held -= bytes;
    },
    full: tooManyUnfinishedBytes(0),
  };
  const routes = [
    createRoute(
      TaskStatusService,
      {
        updateTask: () => ({}),
        async *trackRun(requests) {
          for await (const _ of requests) {
            yield {};
          }
        },
      },
      "known",
    ),
  ];
  const { url } = await useListener({ routes, fastLane, bodyBudget });
  const headers = {
    ":path": `/taskgate.v1.TaskStatusService/${method}`,
    "content-type": "application/grpc",
    "grpc-encoding": compressionGzip.name,
  };
  const response = await sendRaw(useHttp2Session(url), headers, body);
  expect(response.trailers["grpc-status"]).toBe("0");
  expect(held).toBe(0);
  expect(most.bytes).toBeGreaterThanOrEqual(body.length - 5);
});
