import * as grpc from "@grpc/grpc-js";
import * as protoLoader from "@grpc/proto-loader";
import { type Running, type Stage, until } from "./stage.ts";

const bin = new URL("../../../bin/taskgate.js", import.meta.url).pathname;

/** A message as grpc-js takes and gives it: fields in camel case, enums by name. */
export type Message = Record<string, unknown>;

export interface Receipt {
  deliveryId: string;
  state: string;
  attempts: number;
  inDoubt: boolean;
  createTime: unknown;
  deliverTime: unknown;
  failure: { reason: string; metadata: Record<string, string> } | null;
}

export type Answer =
  | { kind: "ok"; response: Message & { receipt?: Receipt } }
  | { kind: "error"; code: string; reason: string };

/** A gateway as its users run it, and a gRPC client of it. */
export interface Taskgate {
  /** `127.0.0.1:PORT`. */
  address: string;
  call(service: string, method: string, request: Message): Promise<Answer>;
  /** The receipt of a call that must be accepted. */
  accept(service: string, method: string, request: Message): Promise<Receipt>;
  /** Ends it; 0 when it stopped by itself. */
  stop(): Promise<number | string>;
  /** Ends it as a crash would, with SIGKILL. */
  kill(): Promise<number | string>;
  log(): string;
}

const definitions = grpc.loadPackageDefinition(
  protoLoader.loadSync(
    ["task_status", "callback", "gateway"].map((name) => `taskgate/v1/${name}.proto`),
    {
      includeDirs: [new URL("../../../proto", import.meta.url).pathname],
      longs: String,
      enums: String,
      defaults: true,
      oneofs: true,
    },
  ),
) as unknown as { taskgate: { v1: Record<string, grpc.ServiceClientConstructor> } };

/** Starts `taskgate serve` with nothing but these variables. */
export async function startTaskgate(stage: Stage, env: Record<string, string>): Promise<Taskgate> {
  const served = stage.start(process.execPath, [bin, "serve"], {
    env: {
      TASKGATE_LISTEN: "127.0.0.1:0",
      TASKGATE_OPS_LISTEN: "off",
      TASKGATE_DATA_DIR: stage.directory(),
      ...env,
    },
  });
  const address = await until("taskgate listens", () => listenAddress(served));
  const clients = new Map<string, grpc.Client>();
  stage.onEnd(() => closeAll(clients));

  async function call(service: string, method: string, request: Message): Promise<Answer> {
    const Service = definitions.taskgate.v1[service];
    const definition = Service?.service[method];
    if (Service === undefined || definition === undefined) {
      throw new Error(`proto/ has no ${service}.${method}`);
    }
    const client = clients.get(service) ?? new Service(address, grpc.credentials.createInsecure());
    clients.set(service, client);
    return new Promise((resolve) => {
      client.makeUnaryRequest(
        definition.path,
        definition.requestSerialize,
        definition.responseDeserialize,
        request,
        new grpc.Metadata(),
        { deadline: Date.now() + 90_000 },
        (error, response) =>
          resolve(
            error === null
              ? { kind: "ok", response: response as Message }
              : {
                  kind: "error",
                  code: grpc.status[error.code] ?? String(error.code),
                  reason: String(error.metadata.get("taskgate-reason")[0] ?? error.details),
                },
          ),
      );
    });
  }

  return {
    address,
    call,
    async accept(service, method, request) {
      const answer = await call(service, method, request);
      const receipt = answer.kind === "ok" ? answer.response.receipt : undefined;
      if (receipt === undefined) {
        throw new Error(`${method} was refused: ${JSON.stringify(answer)}`);
      }
      return receipt;
    },
    stop() {
      closeAll(clients);
      return served.stop();
    },
    kill() {
      closeAll(clients);
      return served.stop("SIGKILL");
    },
    log: served.output,
  };
}

function closeAll(clients: Map<string, grpc.Client>): void {
  for (const client of clients.values()) {
    client.close();
  }
  clients.clear();
}

function listenAddress(running: Running): string | undefined {
  if (!running.isRunning()) {
    throw new Error(`taskgate has ended: ${running.output()}`);
  }
  const line = running
    .output()
    .split("\n")
    .find((each) => each.includes('"message":"listening"'));
  return line === undefined ? undefined : (JSON.parse(line) as { address: string }).address;
}

/** A JSON value as google.protobuf.Value, for grpc-js. */
export function protoValue(value: unknown): Message {
  if (value === null) {
    return { nullValue: "NULL_VALUE" };
  }
  if (Array.isArray(value)) {
    return { listValue: { values: value.map(protoValue) } };
  }
  switch (typeof value) {
    case "string":
      return { stringValue: value };
    case "number":
      return { numberValue: value };
    case "boolean":
      return { boolValue: value };
    default:
      return { structValue: protoStruct(value as Message) };
  }
}

/** A JSON object as google.protobuf.Struct, for grpc-js. */
export function protoStruct(object: Message): Message {
  const entries = Object.entries(object).map(([name, value]) => [name, protoValue(value)]);
  return { fields: Object.fromEntries(entries) };
}
