import { type Sandbox, type SandboxOptions, startSandbox } from "../../src/sandbox/sandbox.ts";
import { findFreePort, findSandboxPorts } from "../support/free-port.ts";
import { type GatewayProcess, sandboxEnv, startGatewayProcess } from "./gateway-process.ts";
import { createGrpcClient, type GrpcClient } from "./grpc-client.ts";
import { firstAnswer } from "./ledger.ts";
import type { Context } from "./scenario.ts";

/** A gateway between a client and a sandbox. */
export interface Stage {
  sandbox: Sandbox;
  client: GrpcClient;
  /** host:port of the gateway. */
  address: string;
  /** The one that runs now. */
  gateway(): GatewayProcess;
  /** Starts the next gateway on the same directory and port. Resolves with the time to its first answer. */
  start(): Promise<number>;
  dataDir: string;
}

export interface StageOptions {
  sandbox?: SandboxOptions;
  env?: Record<string, string>;
  /** Default: a directory for the scenario. */
  dataDir?: string;
}

/** Sets a stage for a scenario. The gateway serves when this resolves. */
export async function setStage(context: Context, options: StageOptions = {}): Promise<Stage> {
  const sandbox = await startSandbox({
    random: context.random,
    ports: await findSandboxPorts(),
    ...options.sandbox,
  });
  context.defer(() => sandbox.close());
  sandbox.aidbox.definitions.define("torture/job", {
    inProgressTimeout: 3_600_000,
    requestedToStartTimeout: 3_600_000,
  });
  const dataDir = options.dataDir ?? context.directory();
  const port = await findFreePort();
  const address = `127.0.0.1:${port}`;
  const client = createGrpcClient(address);
  context.defer(() => client.close());
  const env = { ...sandboxEnv(sandbox), TASKGATE_DATA_DIR: dataDir, ...options.env };
  let gateway = startGatewayProcess(port, env);
  context.defer(() => gateway.kill());
  await firstAnswer(client, gateway);
  return {
    sandbox,
    client,
    address,
    gateway: () => gateway,
    start() {
      gateway = startGatewayProcess(port, env);
      return firstAnswer(client, gateway);
    },
    dataDir,
  };
}

/** A task of Aidbox that is in progress, as if it had been polled and started. */
export function startAidboxTask({ aidbox }: Pick<Sandbox, "aidbox">): { id: string; execId: string } {
  aidbox.tasks.create({ definition: "torture/job", params: {} });
  const [polled] = aidbox.tasks.poll(["task torture/job"], 1);
  const { id = "", execId = "" } = polled ?? {};
  aidbox.tasks.start(id, execId);
  return { id, execId };
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
