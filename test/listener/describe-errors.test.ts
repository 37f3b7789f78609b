import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { describe, expect, test } from "vitest";
import { BadRequestSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { GatewayService } from "../../gen/taskgate/v1/gateway_pb.ts";
import { TaskStatusService } from "../../gen/taskgate/v1/task_status_pb.ts";
import { createRoute } from "../../src/model/route.ts";
import { invalidRequest } from "../../src/rpc/errors.ts";
import { useListener } from "../support/use-listener.ts";

// Long enough to be compressed, for a client that takes gzip.
const violations = Array.from({ length: 10 }, (_, index) => ({
  field: `field_${index}`,
  description: `${index} `.repeat(100),
}));

function refuse(message: string): never {
  if (message === "with metadata") {
    throw new ConnectError("no more room", Code.ResourceExhausted, { "x-room": "none" });
  }
  throw invalidRequest(violations);
}

const routes = [
  createRoute(TaskStatusService, { updateTask: ({ message = "" }) => refuse(message) }, "known"),
  createRoute(
    GatewayService,
    {
      // biome-ignore lint/correctness/useYield: it fails before its first message.
      async *watchDeliveries({ taskId }) {
        refuse(taskId);
      },
    },
    "known",
  ),
];

type Create = (options: { baseUrl: string; httpVersion: "1.1" | "2" }) => Transport;

const transports: [name: string, create: Create, httpVersion: "1.1" | "2"][] = [
  ["gRPC", createGrpcTransport, "2"],
  ["gRPC-Web", createGrpcWebTransport, "2"],
  ["gRPC-Web over HTTP/1.1", createGrpcWebTransport, "1.1"],
  ["Connect", createConnectTransport, "2"],
  ["Connect over HTTP/1.1", createConnectTransport, "1.1"],
];

async function firstOf(messages: AsyncIterable<unknown>): Promise<unknown> {
  return messages[Symbol.asyncIterator]().next();
}

async function failing(call: Promise<unknown>): Promise<ConnectError> {
  return ConnectError.from(
    await call.then(
      () => undefined,
      (error) => error,
    ),
  );
}

describe.each(transports)("over %s, from the adapter", (_, create, httpVersion) => {
  async function fail(message: string): Promise<ConnectError[]> {
    const { url } = await useListener({ routes, fastLane: false });
    const transport = create({ baseUrl: url, httpVersion });
    const client = createClient(GatewayService, transport);
    return [
      await failing(createClient(TaskStatusService, transport).updateTask({ message })),
      await failing(firstOf(client.watchDeliveries({ taskId: message }))),
    ];
  }

  test("an error that is long enough to be compressed comes whole", async () => {
    for (const error of await fail("long")) {
      expect(error.code).toBe(Code.InvalidArgument);
      const [badRequest] = error.findDetails(BadRequestSchema);
      expect(badRequest?.fieldViolations).toMatchObject(violations);
    }
  });

  test("an error without details gets them, and its metadata comes once", async () => {
    for (const error of await fail("with metadata")) {
      expect(error.rawMessage).toBe("no more room");
      expect(error.details).toHaveLength(1);
      expect(error.metadata.get("x-room")).toBe("none");
      expect(error.metadata.get("taskgate-reason")).toBe("PAYLOAD_TOO_LARGE");
    }
  });
});

test("a long error that Connect made gets its details, though it is compressed", async () => {
  const { url } = await useListener({ routes });
  const response = await fetch(`${url}/taskgate.v1.TaskStatusService/UpdateTask`, {
    method: "POST",
    headers: { "content-type": "application/json", "accept-encoding": "gzip" },
    body: JSON.stringify({ ["unknown".repeat(500)]: 1 }),
  });
  const { code, details } = (await response.json()) as { code: string; details: { type: string }[] };
  expect(code).toBe("invalid_argument");
  expect(details.map(({ type }) => type)).toContain("google.rpc.ErrorInfo");
});
