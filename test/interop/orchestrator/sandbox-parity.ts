import { once } from "node:events";
import http from "node:http";
import { startSandbox } from "../../../src/sandbox/sandbox.ts";
import type { JobService } from "../support/job-service.ts";
import { type Stage, until } from "../support/stage.ts";
import type { Core } from "./core.ts";
import { type Probe, type ProbeTarget, probes } from "./probes.ts";

/** A real Orchestrator or the sandbox, as far as a probe needs it. */
interface Side {
  url: string;
  /** A process that has come so far. */
  bring(state: NonNullable<Probe["state"]>): Promise<ProbeTarget>;
  statusOf(processId: string): Promise<string>;
  lock(isLocked: boolean): Promise<void>;
}

const awaiting = "awaiting_callback";

function realSide(core: Core, jobs: JobService): Side {
  return {
    url: core.url,
    async bring(state) {
      const processId = await core.start(state === "acting" ? "slow_submit" : "one_callback");
      const route = await jobs.routeOf(processId);
      if (state !== "acting") {
        await core.reach(processId, awaiting);
      }
      if (state === "aborted") {
        await core.abort(processId);
      }
      if (state === "completed" || state === "failed") {
        await post(core.url + route, state);
        await core.reach(processId, state);
      }
      return { processId, token: route.replace(/^.*\//, "") };
    },
    async statusOf(processId) {
      const stops = [awaiting, "completed", "failed", "aborted"];
      return (await core.reach(processId, ...stops)).last_status;
    },
    lock: (isLocked) => core.lock(isLocked),
  };
}

async function sandboxSide(stage: Stage): Promise<Side> {
  const sandbox = await startSandbox();
  stage.onEnd(() => sandbox.close());
  const { url, processes, switches } = sandbox.orchestrator;
  return {
    url,
    async bring(state) {
      const started = processes.start(state === "acting" ? { actionMs: 4000 } : {});
      if (state === "aborted") {
        processes.abort(started.process_id);
      }
      if (state === "completed" || state === "failed") {
        await post(url + started.callback_route, state);
      }
      return { processId: started.process_id, token: started.token };
    },
    statusOf: (processId) =>
      until("the sandbox's process stops", () => {
        const status = processes.get(processId)?.status;
        return status === "running" || status === "resumed" ? undefined : status;
      }),
    async lock(isLocked) {
      switches.locked = isLocked;
    },
  };
}

async function post(url: string, state: "completed" | "failed"): Promise<void> {
  await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: state === "completed" ? '{"return_code":0}' : '{"return_code":1}',
  });
}

/** Asks both the same, and compares status, headers, body, and what became of the process. */
export async function compareSandbox(stage: Stage, core: Core, jobs: JobService): Promise<void> {
  const sides = [realSide(core, jobs), await sandboxSide(stage)].map(
    (side): Asked => ({ side, left: undefined }),
  );
  for (const probe of probes) {
    let [real, sandbox] = await askBoth(sides, probe);
    if (real?.status === 500 && sandbox?.status !== 500) {
      // Seen once in some hundred: what it is busy with gets into its way.
      stage.say(`        the Orchestrator answered 500, and is asked again: ${probe.name}\n${core.log()}`);
      [real, sandbox] = await askBoth(sides, probe);
    }
    stage.check(`the sandbox answers as the Orchestrator: ${probe.name}`, sandbox, real);
  }
}

function askBoth(sides: readonly Asked[], probe: Probe): Promise<Answer[]> {
  return Promise.all(sides.map((asked) => ask(asked, probe)));
}

/** What came back, without what is another in each run. */
type Answer = Record<string, unknown>;

interface Asked {
  side: Side;
  /** A process that still awaits its callback after the probe before. */
  left: ProbeTarget | undefined;
}

async function ask(asked: Asked, probe: Probe): Promise<Answer> {
  const { side, left } = asked;
  const { state = "awaiting" } = probe;
  const isAwaiting = state === "awaiting" || state === "locked";
  const target = (isAwaiting ? left : undefined) ?? (await side.bring(isAwaiting ? "awaiting" : state));
  await side.lock(state === "locked");
  const answer = await send(side.url, probe, target);
  await side.lock(false);
  const status = await side.statusOf(target.processId);
  asked.left = status === awaiting ? target : undefined;
  return { ...answer, process: status };
}

const comparedHeaders = ["content-type", "content-length", "allow", "location", "server", "retry-after"];

async function send(url: string, probe: Probe, target: ProbeTarget): Promise<Answer> {
  const { hostname, port, host } = new URL(url);
  const { method = "POST", headers = {}, body } = probe;
  const length = body === undefined ? 0 : Buffer.byteLength(body);
  const request = http.request({
    host: hostname,
    port,
    method,
    path: probe.path(target),
    headers: { host, ...headers, ...(body === undefined ? {} : { "content-length": length }) },
    agent: false,
  });
  request.end(body);
  const [response] = (await once(request, "response")) as [http.IncomingMessage];
  let text = "";
  for await (const chunk of response.setEncoding("utf8")) {
    text += chunk;
  }
  const masked = (value: string): string =>
    value
      .replaceAll(target.processId, "<process>")
      .replaceAll(target.token, "<token>")
      .replaceAll(host, "<host>");
  const shown = comparedHeaders.map((name) => [name, response.headers[name]] as const);
  return {
    status: response.statusCode,
    headers: Object.fromEntries(
      shown.flatMap(([name, value]) => (value === undefined ? [] : [[name, masked(String(value))]])),
    ),
    body: masked(text),
  };
}
