import { type Aidbox, type AidboxOptions, createAidbox } from "./aidbox.ts";
import { type Clock, ownClock, systemClock } from "./clock.ts";
import { startUpstreamServer, type UpstreamServer } from "./http-server.ts";
import type { Random } from "./ids.ts";
import { createOrchestra, type Orchestra, type OrchestraOptions } from "./orchestra.ts";
import { createOrchestrator, type Orchestrator, type OrchestratorOptions } from "./orchestrator.ts";

export interface SandboxOptions {
  /** Default `127.0.0.1`. Nothing here is fit for another network: the control surface asks for no credentials. */
  host?: string;
  /** Default 0 each: any free one. */
  ports?: { orchestra?: number; orchestrator?: number; aidbox?: number };
  /** Default: the machine's. */
  clock?: Clock;
  /** Numbers in [0, 1), for ids, tokens, and faults with a probability. Default: `Math.random`. */
  random?: Random;
  orchestra?: OrchestraOptions;
  orchestrator?: OrchestratorOptions;
  aidbox?: AidboxOptions;
}

export interface OrchestraSandbox
  extends UpstreamServer,
    Pick<Orchestra, "taskRuns" | "settings" | "apiKey"> {
  /** What events are posted to: `url` and the path. */
  readonly webhookUrl: string;
}

export interface OrchestratorSandbox
  extends UpstreamServer,
    Pick<Orchestrator, "processes" | "switches" | "token"> {}

export interface AidboxSandbox
  extends UpstreamServer,
    Pick<Aidbox, "tasks" | "workflows" | "definitions" | "clientId" | "clientSecret"> {}

/** Orchestra, Workflow Orchestrator and Aidbox, as far as a gateway meets them, on three ports of this machine. */
export interface Sandbox {
  readonly orchestra: OrchestraSandbox;
  readonly orchestrator: OrchestratorSandbox;
  readonly aidbox: AidboxSandbox;
  /** Ends every socket and timer. */
  close(): Promise<void>;
}

/** Starts all three. Rejects, and leaves nothing open, when one cannot listen. */
export async function startSandbox(options: SandboxOptions = {}): Promise<Sandbox> {
  const { host = "127.0.0.1", ports = {}, clock = systemClock, random = Math.random } = options;
  const orchestra = createOrchestra(clock, options.orchestra);
  const orchestrator = createOrchestrator(ownClock(clock), random, options.orchestrator);
  const aidbox = createAidbox(ownClock(clock), random, options.aidbox);
  const started: UpstreamServer[] = [];
  const close = async () => {
    await Promise.all(started.map((server) => server.close()));
  };

  async function start(upstream: Orchestra | Orchestrator | Aidbox, port = 0): Promise<UpstreamServer> {
    const server = await startUpstreamServer(upstream, { host, port, clock, random });
    started.push(server);
    return server;
  }

  try {
    const orchestraServer = await start(orchestra, ports.orchestra);
    const orchestratorServer = await start(orchestrator, ports.orchestrator);
    const aidboxServer = await start(aidbox, ports.aidbox);
    const { taskRuns, settings, apiKey, path } = orchestra;
    const { processes, switches, token } = orchestrator;
    const { tasks, workflows, definitions, clientId, clientSecret } = aidbox;
    const webhookUrl = orchestraServer.url + path;
    return {
      orchestra: Object.assign(orchestraServer, { taskRuns, settings, apiKey, webhookUrl }),
      orchestrator: Object.assign(orchestratorServer, { processes, switches, token }),
      aidbox: Object.assign(aidboxServer, { tasks, workflows, definitions, clientId, clientSecret }),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
