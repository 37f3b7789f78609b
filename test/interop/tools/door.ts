import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { type Sandbox, startSandbox } from "../../../src/sandbox/sandbox.ts";
import type { Stage } from "../support/stage.ts";
import { startTaskgate, type Taskgate } from "../support/taskgate.ts";

/** A gateway beside a sandbox, and the way in. */
export interface Door {
  /** How checks name it. */
  name: string;
  stage: Stage;
  sandbox: Sandbox;
  taskgate: Taskgate;
  /** `HOST:PORT`; undefined: a Unix socket. */
  hostPort: string | undefined;
  /** The path of the Unix socket. */
  socketPath: string | undefined;
  /** Files of TLS, where it is spoken: the CA, and the client's own, which it must show. */
  tls: { ca: string; cert: string; key: string } | undefined;
  /** Of workers and of operators, where callers must show one. */
  tokens: { worker: string; admin: string } | undefined;
}

/** What every door serves, as tools sort it. */
export const services = [
  "grpc.health.v1.Health",
  "grpc.reflection.v1.ServerReflection",
  "grpc.reflection.v1alpha.ServerReflection",
  "taskgate.v1.CallbackService",
  "taskgate.v1.ExecutorService",
  "taskgate.v1.GatewayService",
  "taskgate.v1.TaskStatusService",
];

const tlsFile = (name: string): string => new URL(`../../support/tls/${name}`, import.meta.url).pathname;

/** Opens the three ways in: TCP, a Unix socket, and TCP with TLS, client certificates and tokens. */
export async function openDoors(stage: Stage): Promise<Door[]> {
  const socketPath = join(stage.directory(), "taskgate.sock");
  const tokens = { worker: randomUUID(), admin: randomUUID() };
  const tls = { ca: tlsFile("ca.pem"), cert: tlsFile("client.pem"), key: tlsFile("client.key") };
  return [
    await openDoor(stage, { name: "TCP" }, {}),
    await openDoor(stage, { name: "Unix socket", socketPath }, { TASKGATE_LISTEN: `unix:${socketPath}` }),
    await openDoor(
      stage,
      { name: "TLS and token", tls, tokens },
      {
        TASKGATE_TLS_CERT: tlsFile("server.pem"),
        TASKGATE_TLS_KEY: tlsFile("server.key"),
        TASKGATE_TLS_CLIENT_CA: tls.ca,
        TASKGATE_AUTH_TOKEN: tokens.worker,
        TASKGATE_ADMIN_TOKEN: tokens.admin,
      },
    ),
  ];
}

async function openDoor(
  stage: Stage,
  door: { name: string } & Partial<Pick<Door, "socketPath" | "tls" | "tokens">>,
  env: Record<string, string>,
): Promise<Door> {
  const sandbox = await startSandbox();
  stage.onEnd(() => sandbox.close());
  const taskgate = await startTaskgate(stage, {
    ORCHESTRA_WEBHOOK_URL: sandbox.orchestra.webhookUrl,
    ORCHESTRA_API_KEY: sandbox.orchestra.apiKey,
    ...env,
  });
  return {
    ...{ socketPath: undefined, tls: undefined, tokens: undefined },
    ...door,
    stage,
    sandbox,
    taskgate,
    hostPort: door.socketPath === undefined ? taskgate.address : undefined,
  };
}

/** What Orchestra got of a run: `SUCCEEDED: well done`. */
export function eventsOf({ sandbox }: Door, runId: string): string[] {
  const events = sandbox.orchestra.taskRuns.get(runId)?.events ?? [];
  return events.map(({ event }) =>
    event.type === "UPDATE_STATUS" ? `${event.status}: ${event.message ?? ""}` : event.type,
  );
}
