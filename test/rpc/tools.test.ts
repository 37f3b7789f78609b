import { create, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { describe, expect, test } from "vitest";
import { Health, HealthCheckResponse_ServingStatus as Status } from "../../gen/grpc/health/v1/health_pb.ts";
import {
  ServerReflection,
  ServerReflectionRequestSchema,
} from "../../gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as ServerReflectionV1Alpha } from "../../gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { useGateway } from "../support/use-gateway.ts";

const services = [
  "taskgate.v1.TaskStatusService",
  "taskgate.v1.CallbackService",
  "taskgate.v1.ExecutorService",
  "taskgate.v1.GatewayService",
];

describe("health", () => {
  test("says SERVING for the server and each service, and nothing of others", async () => {
    const { url } = await useGateway();
    const client = createClient(Health, createGrpcTransport({ baseUrl: url }));
    for (const service of ["", ...services]) {
      expect((await client.check({ service })).status).toBe(Status.SERVING);
    }
    await expect(client.check({ service: "nothing" })).rejects.toThrow("unknown service nothing");
    expect(Object.keys((await client.list({})).statuses)).toEqual(["", ...services]);
  });

  test("tells a watcher when the gateway stops serving, and lets it go", async () => {
    const { url, gateway } = await useGateway();
    const client = createClient(Health, createGrpcTransport({ baseUrl: url }));
    const seen: Status[] = [];
    const startMs = performance.now();
    for await (const { status } of client.watch({ service: "taskgate.v1.GatewayService" })) {
      seen.push(status);
      if (status === Status.SERVING) {
        void gateway.stop();
      }
    }
    expect(seen).toEqual([Status.SERVING, Status.NOT_SERVING]);
    expect(performance.now() - startMs).toBeLessThan(1500);
  });

  test("a watcher of an unknown service is told so and kept", async () => {
    const { url } = await useGateway();
    const client = createClient(Health, createGrpcTransport({ baseUrl: url }));
    const abort = new AbortController();
    const watch = client.watch({ service: "nothing" }, { signal: abort.signal })[Symbol.asyncIterator]();
    expect((await watch.next()).value?.status).toBe(Status.SERVICE_UNKNOWN);
    const next = watch.next().then(
      () => "told something",
      () => "let go",
    );
    const pause = new Promise((resolve) => setTimeout(() => resolve("kept"), 100));
    expect(await Promise.race([next, pause])).toBe("kept");
    abort.abort();
    expect(await next).toBe("let go");
  });
});

describe.each([
  ["v1", ServerReflection],
  ["v1alpha", ServerReflectionV1Alpha],
] as const)("reflection %s", (_, service) => {
  type Question = ReturnType<typeof create<typeof ServerReflectionRequestSchema>>["messageRequest"];

  async function ask(url: string, questions: readonly Question[]) {
    const client = createClient(service as typeof ServerReflection, createGrpcTransport({ baseUrl: url }));
    const answers = [];
    async function* requests() {
      for (const messageRequest of questions) {
        yield create(ServerReflectionRequestSchema, { host: "h", messageRequest });
      }
    }
    for await (const { messageResponse, originalRequest, validHost } of client.serverReflectionInfo(
      requests(),
    )) {
      expect([validHost, originalRequest?.host]).toEqual(["h", "h"]);
      answers.push(messageResponse);
    }
    return answers;
  }

  test("lists the services", async () => {
    const { url } = await useGateway();
    const [answer] = await ask(url, [{ case: "listServices", value: "" }]);
    expect(answer).toMatchObject({ case: "listServicesResponse" });
    const names = answer?.case === "listServicesResponse" ? answer.value.service.map(({ name }) => name) : [];
    expect(names).toEqual([
      ...services,
      "grpc.health.v1.Health",
      "grpc.reflection.v1.ServerReflection",
      "grpc.reflection.v1alpha.ServerReflection",
    ]);
  });

  test("gives a file with all that it imports, by its name and by any symbol in it", async () => {
    const { url } = await useGateway();
    const answers = await ask(url, [
      { case: "fileByFilename", value: "taskgate/v1/task_status.proto" },
      { case: "fileContainingSymbol", value: "taskgate.v1.TaskStatusService" },
      { case: "fileContainingSymbol", value: "taskgate.v1.TaskStatusService.UpdateTask" },
      { case: "fileContainingSymbol", value: "taskgate.v1.TaskRunStatus" },
      { case: "fileContainingSymbol", value: "taskgate.v1.UpdateTaskRequest" },
    ]);
    for (const answer of answers) {
      const files = answer.case === "fileDescriptorResponse" ? answer.value.fileDescriptorProto : [];
      expect(files.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes).name)).toEqual([
        "taskgate/v1/task_status.proto",
        "google/protobuf/duration.proto",
        "google/protobuf/struct.proto",
        "google/protobuf/timestamp.proto",
        "taskgate/v1/error_reason.proto",
        "taskgate/v1/receipt.proto",
        "taskgate/v1/session.proto",
      ]);
    }
    expect(answers).toHaveLength(5);
  });

  test("says what it does not know, and goes on", async () => {
    const { url } = await useGateway();
    const answers = await ask(url, [
      { case: "fileByFilename", value: "nothing.proto" },
      { case: "fileContainingSymbol", value: "nothing" },
      { case: "allExtensionNumbersOfType", value: "taskgate.v1.Receipt" },
      { case: "allExtensionNumbersOfType", value: "nothing" },
      {
        case: "fileContainingExtension",
        value: { $typeName: "grpc.reflection.v1.ExtensionRequest", containingType: "x", extensionNumber: 1 },
      },
      { case: undefined },
      { case: "listServices", value: "" },
    ]);
    expect(
      answers.map((answer) => (answer.case === "errorResponse" ? answer.value.errorCode : answer.case)),
    ).toEqual([5, 5, "allExtensionNumbersResponse", 5, 5, 3, "listServicesResponse"]);
  });
});
