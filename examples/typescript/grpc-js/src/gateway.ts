import * as grpc from "@grpc/grpc-js";
import * as protoLoader from "@grpc/proto-loader";
import type { ProtoGrpcType as CallbackTypes } from "../gen/callback.ts";
import type { ProtoGrpcType as ErrorDetailsTypes } from "../gen/error_details.ts";
import type { ProtoGrpcType as ExecutorTypes } from "../gen/executor.ts";
import type { ProtoGrpcType as StatusTypes } from "../gen/status.ts";
import type { ProtoGrpcType as TaskStatusTypes } from "../gen/task_status.ts";
import type { CallbackServiceClient } from "../gen/taskgate/v1/CallbackService.ts";
import type { ExecutorServiceClient } from "../gen/taskgate/v1/ExecutorService.ts";
import type { TaskStatusServiceClient } from "../gen/taskgate/v1/TaskStatusService.ts";

const directories = ["../../../../proto", "../../../../third_party/proto", "../proto"];

// The same options as those of proto-loader-gen-types in package.json.
const definition = protoLoader.loadSync(
  [
    "taskgate/v1/task_status.proto",
    "taskgate/v1/callback.proto",
    "taskgate/v1/executor.proto",
    "google/rpc/status.proto",
    "google/rpc/error_details.proto",
  ],
  {
    includeDirs: directories.map((directory) => new URL(directory, import.meta.url).pathname),
    longs: String,
    enums: String,
    defaults: true,
    oneofs: true,
  },
);
const { google, taskgate } = grpc.loadPackageDefinition(definition) as unknown as TaskStatusTypes &
  CallbackTypes &
  ExecutorTypes &
  StatusTypes &
  ErrorDetailsTypes;

export const { Status, ErrorInfo, BadRequest } = google.rpc;

export interface Gateway {
  taskStatus: TaskStatusServiceClient;
  callbacks: CallbackServiceClient;
  executor: ExecutorServiceClient;
  close(): void;
}

// A call that the gateway surely did not take is made again.
const serviceConfig = JSON.stringify({
  methodConfig: [
    {
      name: [{}],
      retryPolicy: {
        maxAttempts: 5,
        initialBackoff: "0.2s",
        maxBackoff: "5s",
        backoffMultiplier: 2,
        retryableStatusCodes: ["UNAVAILABLE"],
      },
    },
  ],
});

/**
 * Connects to a gateway in plain text; the clients share one connection.
 *
 * @param address host:port
 * @param token of the caller; empty where the gateway asks for none
 */
export function connectGateway(address: string, token: string): Gateway {
  const authorize: grpc.Interceptor = (options, next) =>
    new grpc.InterceptingCall(next(options), {
      start(metadata, listener, start) {
        if (token !== "") {
          metadata.set("authorization", `Bearer ${token}`);
        }
        start(metadata, listener);
      },
    });
  // A single call may take half a minute; streams take as long as they take.
  const limit: grpc.Interceptor = (options, next) =>
    new grpc.InterceptingCall(
      next(
        options.method_definition.responseStream ? options : { deadline: Date.now() + 30_000, ...options },
      ),
    );
  const options: grpc.ClientOptions = {
    interceptors: [authorize, limit],
    "grpc.service_config": serviceConfig,
    "grpc.keepalive_time_ms": 10_000,
    "grpc.keepalive_timeout_ms": 5_000,
  };
  const credentials = grpc.credentials.createInsecure();
  const taskStatus = new taskgate.v1.TaskStatusService(address, credentials, options);
  const shared = { ...options, channelOverride: taskStatus.getChannel() };
  return {
    taskStatus,
    callbacks: new taskgate.v1.CallbackService(address, credentials, shared),
    executor: new taskgate.v1.ExecutorService(address, credentials, shared),
    close: () => taskStatus.close(),
  };
}

/** Makes a unary call; grpc-js itself only knows callbacks. */
export function unary<Request, Response>(
  client: grpc.Client,
  method: (request: Request, done: grpc.requestCallback<Response>) => grpc.ClientUnaryCall,
  request: Request,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    method.call(client, request, (error, response) => {
      if (error !== null) {
        reject(error);
      } else if (response !== undefined) {
        resolve(response);
      }
    });
  });
}
