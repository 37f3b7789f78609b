import { ConnectError } from "@connectrpc/connect";
import { findTrailerError } from "@connectrpc/connect/protocol-grpc";
import * as grpc from "@grpc/grpc-js";
import * as protoLoader from "@grpc/proto-loader";
import { ErrorInfoSchema, RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";

/** A message as grpc-js takes and gives it: fields in camel case, enums by name. */
export type Message = Record<string, unknown>;

/** What came of a call. */
export type Answer =
  | { kind: "ok"; response: Message }
  | {
      kind: "error";
      code: grpc.status;
      /** The gateway's own word; undefined: the call got no answer from it. */
      reason: string | undefined;
      message: string;
      retryAfterMs: number | undefined;
    };

export type ServiceName = "TaskStatusService" | "CallbackService" | "ExecutorService" | "GatewayService";

/** A client made by `@grpc/grpc-js` from the files in `proto/`. */
export interface GrpcClient {
  call(
    service: ServiceName,
    method: string,
    request: Message,
    options?: { timeoutMs?: number; waitForReady?: boolean },
  ): Promise<Answer>;
  /** A stream of messages from the server, until it ends or is cancelled. */
  stream(
    service: ServiceName,
    method: string,
    request: Message,
    onMessage: (message: Message) => void,
  ): { cancel(): void };
  /** A stream of messages both ways. `onEnd` is called once, whoever ended it. */
  duplex(
    service: ServiceName,
    method: string,
    onMessage: (message: Message) => void,
    onEnd: () => void,
  ): { send(message: Message): void; cancel(): void };
  close(): void;
}

const definitions = grpc.loadPackageDefinition(
  protoLoader.loadSync(
    ["task_status", "callback", "executor", "gateway"].map((name) => `taskgate/v1/${name}.proto`),
    {
      includeDirs: [new URL("../../proto", import.meta.url).pathname],
      longs: String,
      enums: String,
      oneofs: true,
    },
  ),
) as unknown as { taskgate: { v1: Record<string, grpc.ServiceClientConstructor> } };

/** Creates a client with a connection of its own, which it makes again whenever it breaks. */
export function createGrpcClient(address: string): GrpcClient {
  const clients = new Map<string, grpc.Client>();

  function clientOf(service: ServiceName): grpc.Client {
    const Service = definitions.taskgate.v1[service];
    if (Service === undefined) {
      throw new Error(`proto/ has no ${service}`);
    }
    const client =
      clients.get(service) ??
      new Service(address, grpc.credentials.createInsecure(), {
        // By default it would wait a second and more before it looks for a gateway that is back.
        "grpc.initial_reconnect_backoff_ms": 20,
        "grpc.min_reconnect_backoff_ms": 20,
        "grpc.max_reconnect_backoff_ms": 40,
        "grpc.use_local_subchannel_pool": 1,
        "grpc.service_config": "{}",
        "grpc.enable_retries": 0,
      });
    clients.set(service, client);
    return client;
  }

  function definitionOf(service: ServiceName, method: string): grpc.MethodDefinition<unknown, unknown> {
    const definition = definitions.taskgate.v1[service]?.service[method];
    if (definition === undefined) {
      throw new Error(`${service} has no ${method}`);
    }
    return definition;
  }

  return {
    call(service, method, request, { timeoutMs = 30_000, waitForReady = false } = {}) {
      const { path, requestSerialize, responseDeserialize } = definitionOf(service, method);
      const metadata = new grpc.Metadata({ waitForReady });
      return new Promise((resolve) => {
        clientOf(service).makeUnaryRequest(
          path,
          requestSerialize,
          responseDeserialize,
          request,
          metadata,
          { deadline: Date.now() + timeoutMs },
          (error, response) =>
            resolve(error === null ? { kind: "ok", response: response as Message } : answerOf(error)),
        );
      });
    },
    stream(service, method, request, onMessage) {
      const { path, requestSerialize, responseDeserialize } = definitionOf(service, method);
      const call = clientOf(service).makeServerStreamRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        new grpc.Metadata({ waitForReady: true }),
      );
      call.on("data", onMessage);
      call.on("error", () => undefined);
      return { cancel: () => call.cancel() };
    },
    duplex(service, method, onMessage, onEnd) {
      const { path, requestSerialize, responseDeserialize } = definitionOf(service, method);
      const call = clientOf(service).makeBidiStreamRequest(
        path,
        requestSerialize,
        responseDeserialize,
        new grpc.Metadata({ waitForReady: true }),
      );
      let hasEnded = false;
      const end = () => {
        if (!hasEnded) {
          hasEnded = true;
          onEnd();
        }
      };
      call.on("data", onMessage);
      call.on("error", end);
      call.on("end", end);
      return {
        send: (message) => void call.write(message),
        cancel() {
          hasEnded = true;
          call.cancel();
        },
      };
    },
    close() {
      for (const client of clients.values()) {
        client.close();
      }
    },
  };
}

function answerOf(error: grpc.ServiceError): Answer {
  const headers = new Headers({ "grpc-status": String(error.code) });
  const [details] = error.metadata.get("grpc-status-details-bin");
  if (Buffer.isBuffer(details)) {
    headers.set("grpc-status-details-bin", details.toString("base64"));
  }
  const parsed = findTrailerError(headers) ?? new ConnectError(error.details);
  const [retry] = parsed.findDetails(RetryInfoSchema);
  const [info] = parsed.findDetails(ErrorInfoSchema);
  return {
    kind: "error",
    code: error.code,
    reason: info?.reason,
    message: error.details,
    retryAfterMs:
      retry?.retryDelay === undefined
        ? undefined
        : Number(retry.retryDelay.seconds) * 1000 + retry.retryDelay.nanos / 1e6,
  };
}
