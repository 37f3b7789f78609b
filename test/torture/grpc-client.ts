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
  /** A stream of messages both ways. */
  open(service: ServiceName, method: string, on: StreamListener): OpenStream;
  close(): void;
}

export interface StreamListener {
  onMessage(message: Message): void;
  /** It is over, by an error unless `undefined`. Is called once. */
  onEnd(error: Extract<Answer, { kind: "error" }> | undefined): void;
}

/** A client's end of a stream both ways. */
export interface OpenStream {
  write(message: Message): void;
  halfClose(): void;
  cancel(): void;
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

/**
 * Creates a client with a connection of its own, which it makes again whenever it breaks.
 *
 * @param token what it says it is; undefined where nobody asks
 */
export function createGrpcClient(address: string, token?: string): GrpcClient {
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

  function metadataOf(waitForReady: boolean): grpc.Metadata {
    const metadata = new grpc.Metadata({ waitForReady });
    if (token !== undefined) {
      metadata.set("authorization", `Bearer ${token}`);
    }
    return metadata;
  }

  return {
    call(service, method, request, { timeoutMs = 30_000, waitForReady = false } = {}) {
      const { path, requestSerialize, responseDeserialize } = definitionOf(service, method);
      const metadata = metadataOf(waitForReady);
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
        metadataOf(true),
      );
      call.on("data", onMessage);
      call.on("error", () => undefined);
      return { cancel: () => call.cancel() };
    },
    open(service, method, { onMessage, onEnd }) {
      const { path, requestSerialize, responseDeserialize } = definitionOf(service, method);
      const call = clientOf(service).makeBidiStreamRequest(
        path,
        requestSerialize,
        responseDeserialize,
        metadataOf(true),
      );
      let isOver = false;
      const end = (error?: grpc.ServiceError) => {
        if (!isOver) {
          isOver = true;
          onEnd(error === undefined ? undefined : answerOf(error));
        }
      };
      call.on("data", onMessage);
      call.on("error", end);
      call.on("end", () => end());
      return {
        write(message) {
          // Of its end it hears by itself.
          if (call.writable) {
            call.write(message);
          }
        },
        halfClose: () => call.end(),
        cancel: () => call.cancel(),
      };
    },
    close() {
      for (const client of clients.values()) {
        client.close();
      }
    },
  };
}

function answerOf(error: grpc.ServiceError): Extract<Answer, { kind: "error" }> {
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
