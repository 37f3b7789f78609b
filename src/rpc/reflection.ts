import { type DescFile, type DescService, toBinary } from "@bufbuild/protobuf";
import { nestedTypes } from "@bufbuild/protobuf/reflect";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code, type HandlerContext } from "@connectrpc/connect";
import { ServerReflection as ServerReflectionV1 } from "../../gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as ServerReflectionV1Alpha } from "../../gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { createRoute, type Route } from "../model/route.ts";
import { whileConnected } from "./while-connected.ts";

// The parts of both versions' messages that are used, without their type names.
type Question =
  | { case: "fileByFilename" | "fileContainingSymbol" | "allExtensionNumbersOfType"; value: string }
  | { case: "listServices"; value: string }
  | { case: "fileContainingExtension"; value: { containingType: string } }
  | { case: undefined; value?: undefined };
type Answer =
  | { case: "fileDescriptorResponse"; value: { fileDescriptorProto: Uint8Array<ArrayBuffer>[] } }
  | { case: "listServicesResponse"; value: { service: { name: string }[] } }
  | { case: "allExtensionNumbersResponse"; value: { baseTypeName: string } }
  | { case: "errorResponse"; value: { errorCode: number; errorMessage: string } };

/**
 * Creates gRPC's reflection service, which tells tools the contract. The two
 * versions differ in name only; older tools still ask for `v1alpha`. Streams end
 * when `stopping` aborts. The files of `services` are told, and those of `extras`,
 * which no service names.
 */
export function createReflectionRoutes(
  services: readonly DescService[],
  extras: readonly DescFile[],
  stopping: AbortSignal,
): Route[] {
  const index = createIndex([...services, ServerReflectionV1, ServerReflectionV1Alpha], extras);
  async function* serverReflectionInfo<Request extends { host: string; messageRequest: Question }>(
    requests: AsyncIterable<Request>,
    { signal }: HandlerContext,
  ) {
    for await (const request of whileConnected(requests, signal, stopping)) {
      yield {
        validHost: request.host,
        originalRequest: request,
        messageResponse: index.answer(request.messageRequest),
      };
    }
  }
  return [
    createRoute(ServerReflectionV1, { serverReflectionInfo }, "known"),
    createRoute(ServerReflectionV1Alpha, { serverReflectionInfo }, "known"),
  ];
}

function createIndex(services: readonly DescService[], extras: readonly DescFile[]) {
  const files = new Map<string, DescFile>();
  const symbols = new Map<string, DescFile>();
  for (const file of [...services.map((service) => service.file), ...extras]) {
    addFile(file);
  }

  function addFile(file: DescFile): void {
    if (files.has(file.proto.name)) {
      return;
    }
    files.set(file.proto.name, file);
    file.dependencies.forEach(addFile);
    for (const type of nestedTypes(file)) {
      symbols.set(type.typeName, file);
      if (type.kind === "service") {
        for (const method of type.methods) {
          symbols.set(`${type.typeName}.${method.name}`, file);
        }
      }
    }
  }

  function answerFile(file: DescFile | undefined, name: string): Answer {
    return file === undefined
      ? notFound(name)
      : { case: "fileDescriptorResponse", value: { fileDescriptorProto: withDependencies(file) } };
  }

  return {
    answer(request: Question): Answer {
      switch (request.case) {
        case "listServices":
          return {
            case: "listServicesResponse",
            value: { service: services.map(({ typeName }) => ({ name: typeName })) },
          };
        case "fileByFilename":
          return answerFile(files.get(request.value), request.value);
        case "fileContainingSymbol":
          return answerFile(symbols.get(request.value), request.value);
        case "allExtensionNumbersOfType":
          return symbols.has(request.value)
            ? { case: "allExtensionNumbersResponse", value: { baseTypeName: request.value } }
            : notFound(request.value);
        case "fileContainingExtension":
          return notFound(`an extension of ${request.value.containingType}`);
        case undefined:
          return failed(Code.InvalidArgument, "the request asks for nothing that this server knows");
        default:
          return request satisfies never;
      }
    },
  };
}

function withDependencies(file: DescFile, seen = new Set<string>()): Uint8Array<ArrayBuffer>[] {
  if (seen.has(file.proto.name)) {
    return [];
  }
  seen.add(file.proto.name);
  return [
    toBinary(FileDescriptorProtoSchema, file.proto),
    ...file.dependencies.flatMap((dependency) => withDependencies(dependency, seen)),
  ];
}

function notFound(name: string): Answer {
  return failed(Code.NotFound, `${name} not found`);
}

function failed(errorCode: Code, errorMessage: string): Answer {
  return { case: "errorResponse", value: { errorCode, errorMessage } };
}
