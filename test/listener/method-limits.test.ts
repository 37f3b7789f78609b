import type { OutgoingHttpHeaders } from "node:http2";
import { expect, test } from "vitest";
import { Health } from "../../gen/grpc/health/v1/health_pb.ts";
import { createBodyBudget } from "../../src/listener/body-budget.ts";
import { maxPublicMessageBytes } from "../../src/listener/method-limits.ts";
import { createRoute } from "../../src/model/route.ts";
import { tooManyUnfinishedBytes } from "../../src/rpc/errors.ts";
import { grpcFrame } from "../support/grpc-frame.ts";
import { sendRaw, useHttp2Session, useListener } from "../support/use-listener.ts";

const routes = [createRoute(Health, { check: () => ({}), async *watch() {} }, "public")];
const check = "/grpc.health.v1.Health/Check";
const watch = "/grpc.health.v1.Health/Watch";
const grpc = { "content-type": "application/grpc" };
const web = { "content-type": "application/grpc-web" };

// An unknown field of `bytes` bytes in all.
function message(bytes: number): Buffer {
  const field = Buffer.alloc(bytes);
  field.set([0x7a, ((bytes - 3) & 0x7f) | 0x80, (bytes - 3) >> 7]);
  return field;
}

test.each<[name: string, headers: OutgoingHttpHeaders, fastLane: boolean]>([
  ["in the lane", { ...grpc, ":path": check }, true],
  ["beside the lane", { ...grpc, ":path": check }, false],
  ["over gRPC-Web", { ...web, ":path": check }, true],
  ["as a stream in the lane", { ...grpc, ":path": watch }, true],
  ["as a stream beside the lane", { ...grpc, ":path": watch }, false],
])("S4 a call for which nobody needs a token takes 4 KiB and no more, %s", async (_, headers, fastLane) => {
  const { url, unexpected } = await useListener({ routes, fastLane });
  const session = useHttp2Session(url);
  const send = async (bytes: number) => {
    const { headers: head, trailers, body } = await sendRaw(session, headers, grpcFrame(message(bytes)));
    const inBody = /grpc-status: *(\d+)/.exec(body.toString("latin1"))?.[1];
    return trailers["grpc-status"] ?? head["grpc-status"] ?? inBody;
  };
  expect(await send(maxPublicMessageBytes)).toBe("0");
  expect(await send(maxPublicMessageBytes + 1)).toBe("8");
  expect(unexpected).toEqual([]);
});

test.each([
  ["gRPC", grpc, true],
  ["gRPC", grpc, false],
  ["gRPC-Web", web, true],
])(
  "S4 what nobody needs a token for does not use up the room for bodies: %s, lane %s",
  async (_, type, fastLane) => {
    const budget = createBodyBudget(64 * 1024, tooManyUnfinishedBytes(64 * 1024));
    const { url } = await useListener({ routes, fastLane, bodyBudget: budget });
    const session = useHttp2Session(url);
    const half = Buffer.concat([grpcFrame(Buffer.alloc(0), 0, 60_000), Buffer.alloc(16_000)]);
    for (const path of [check, watch]) {
      const stream = session.request({ ":method": "POST", te: "trailers", ...type, ":path": path });
      stream.on("error", () => undefined);
      stream.resume();
      stream.write(half);
      // It is refused without waiting for the rest.
      await new Promise((resolve) => stream.once("close", resolve));
    }
    await expect.poll(() => budget.take(64 * 1024)).toBe(true);
  },
);
