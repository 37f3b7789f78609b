import {
  create,
  type DescMessage,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { type CallOptions, type Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { findTrailerError } from "@connectrpc/connect/protocol-grpc";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import * as grpc from "@grpc/grpc-js";
import * as protoLoader from "@grpc/proto-loader";
import { onTestFinished } from "vitest";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";

/** An error as a client sees it, whatever the protocol. */
export interface SeenError {
  code: Code;
  message: string;
  reason: string | undefined;
  metadata: Record<string, string>;
  /** Field and description of each violation. */
  violations: Record<string, string>;
  /** `RetryInfo`, in milliseconds. */
  retryAfterMs: number | undefined;
  /** The trailer `taskgate-reason`. */
  reasonTrailer: string | null;
}

/** Calls unary RPCs in one protocol, through one lane of the server. */
export interface TestClient {
  name: string;
  /** Which way the server must serve it; `undefined` where there is only one. */
  fastLane: boolean;
  connect(address: string, headers?: Record<string, string>): Caller;
}

export interface CallerOptions {
  timeoutMs?: number;
  signal?: AbortSignal;
}

/** A connection that calls. */
export interface Caller {
  call<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    options?: CallerOptions,
  ): Promise<MessageShape<O>>;
  /** Makes a call that must fail, and returns its error. */
  fail<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    options?: CallerOptions,
  ): Promise<SeenError>;
}

/** What most clients are: gRPC, served in the fast lane. */
export const grpcClient: TestClient = {
  name: "grpc-js in the fast lane",
  fastLane: true,
  connect: connectGrpcJs,
};

/**
 * The clients that every RPC test runs with: `@grpc/grpc-js` with definitions that
 * it reads from `proto/` by itself, through the fast lane and beside it; Connect
 * over HTTP/1.1; gRPC-Web.
 */
export const testClients: readonly TestClient[] = [
  grpcClient,
  { name: "grpc-js beside the fast lane", fastLane: false, connect: connectGrpcJs },
  {
    name: "Connect over HTTP/1.1",
    fastLane: true,
    connect: (address, headers) =>
      callerOf(createConnectTransport({ baseUrl: address, httpVersion: "1.1" }), headers),
  },
  {
    name: "gRPC-Web",
    fastLane: true,
    connect: (address, headers) =>
      callerOf(createGrpcWebTransport({ baseUrl: address, httpVersion: "1.1" }), headers),
  },
];

function callerOf(transport: Transport, headers: Record<string, string> = {}): Caller {
  return withFail(async (method, request, options = {}) => {
    const client = createClient(method.parent, transport) as unknown as Record<
      string,
      (request: unknown, options: CallOptions) => Promise<unknown>
    >;
    const response = await client[method.localName]?.(request, { ...options, headers });
    return response as MessageShape<typeof method.output>;
  });
}

const definitions = grpc.loadPackageDefinition(
  protoLoader.loadSync(
    ["task_status", "callback", "executor", "gateway"].map((name) => `taskgate/v1/${name}.proto`),
    { includeDirs: [new URL("../../proto", import.meta.url).pathname], longs: String, oneofs: true },
  ),
) as unknown as { taskgate: { v1: Record<string, grpc.ServiceClientConstructor> } };

/** A service as grpc-js knows it. */
export function loadService(name: string): grpc.ServiceClientConstructor {
  const Service = definitions.taskgate.v1[name];
  if (Service === undefined) {
    throw new Error(`grpc-js knows no ${name}`);
  }
  return Service;
}

// grpc-js sends and receives what protobuf.js makes of the messages; protobuf-es
// only gives and takes them as bytes.
function connectGrpcJs(address: string, headers: Record<string, string> = {}): Caller {
  const clients = new Map<string, grpc.Client>();
  onTestFinished(() => {
    for (const client of clients.values()) {
      client.close();
    }
  });
  return withFail(async (method, request, options = {}) => {
    const Service = loadService(method.parent.name);
    let client = clients.get(method.parent.name);
    if (client === undefined) {
      client = new Service(new URL(address).host, grpc.credentials.createInsecure());
      clients.set(method.parent.name, client);
    }
    const definition = Service.service[method.name];
    if (definition === undefined) {
      throw new Error(`grpc-js knows no ${method.name}`);
    }
    const argument = definition.requestDeserialize(
      Buffer.from(toBinary(method.input, create(method.input, request))),
    );
    const metadata = new grpc.Metadata();
    for (const [name, value] of Object.entries(headers)) {
      metadata.set(name, value);
    }
    const bytes = await unaryCall(client, definition, argument, metadata, options);
    return fromBinary(method.output, bytes) as MessageShape<typeof method.output>;
  });
}

function unaryCall(
  client: grpc.Client,
  definition: grpc.MethodDefinition<unknown, unknown>,
  argument: unknown,
  metadata: grpc.Metadata,
  options: CallerOptions,
): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const call = client.makeUnaryRequest(
      definition.path,
      definition.requestSerialize,
      definition.responseDeserialize,
      argument,
      metadata,
      options.timeoutMs === undefined ? {} : { deadline: Date.now() + options.timeoutMs },
      (error, response) => {
        if (error === null) {
          resolve(definition.responseSerialize(response));
        } else {
          reject(connectErrorOf(error));
        }
      },
    );
    options.signal?.addEventListener("abort", () => call.cancel(), { once: true });
  });
}

/** Reads an error of grpc-js, or of the stream beneath it, as what Connect's would be. */
export function connectErrorOf(error: grpc.ServiceError | Error): ConnectError {
  if (!("metadata" in error)) {
    return ConnectError.from(error);
  }
  const headers = new Headers({ "grpc-status": String(error.code) });
  const [details] = error.metadata.get("grpc-status-details-bin");
  if (Buffer.isBuffer(details)) {
    headers.set("grpc-status-details-bin", details.toString("base64"));
  }
  const [reason] = error.metadata.get("taskgate-reason");
  const parsed = findTrailerError(headers) ?? new ConnectError(error.details, codeOf(error));
  const result = new ConnectError(
    decodeURIComponent(error.details),
    codeOf(error),
    reason === undefined ? {} : { "taskgate-reason": String(reason) },
  );
  result.details = parsed.details;
  return result;
}

// The numbers are gRPC's in both; only the types do not know.
function codeOf(error: grpc.ServiceError): Code {
  return Number(error.code);
}

function withFail(call: Caller["call"]): Caller {
  return {
    call,
    async fail(method, request, options) {
      try {
        await call(method, request, options);
      } catch (error) {
        return seenError(error);
      }
      throw new Error(`${method.name} must fail, and did not`);
    },
  };
}

/** Reads an error with its details. */
export function seenError(error: unknown): SeenError {
  const connectError = ConnectError.from(error);
  const [info] = connectError.findDetails(ErrorInfoSchema);
  const [badRequest] = connectError.findDetails(BadRequestSchema);
  const [retry] = connectError.findDetails(RetryInfoSchema);
  return {
    code: connectError.code,
    message: connectError.rawMessage,
    reason: info?.reason,
    metadata: info?.metadata ?? {},
    violations: Object.fromEntries(
      badRequest?.fieldViolations.map(({ field, description }) => [field, description]) ?? [],
    ),
    retryAfterMs:
      retry?.retryDelay === undefined
        ? undefined
        : Number(retry.retryDelay.seconds) * 1000 + retry.retryDelay.nanos / 1e6,
    reasonTrailer: connectError.metadata.get("taskgate-reason"),
  };
}
