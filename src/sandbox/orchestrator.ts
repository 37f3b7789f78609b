import type { OwnedClock } from "./clock.ts";
import { type DecodedBody, decodeBody, unhandledError } from "./fastapi-body.ts";
import { emptyAnswer, type HttpAnswer, type HttpRequest, jsonAnswer } from "./http-message.ts";
import type { Random } from "./ids.ts";
import { createCallbacks, type OrchestratorSwitches } from "./orchestrator-callbacks.ts";
import { controlOrchestrator } from "./orchestrator-control.ts";
import { createEndpoints, problem } from "./orchestrator-endpoints.ts";
import { createEngine, type EngineOptions } from "./orchestrator-engine.ts";
import { createProcesses, type Processes } from "./orchestrator-processes.ts";
import { createRouter } from "./starlette-router.ts";
import type { Upstream } from "./upstream.ts";

/** Every switch defaults to off. */
export interface OrchestratorOptions extends EngineOptions, Partial<OrchestratorSwitches> {
  /** Turns OAuth on: this bearer token and no other is taken. Default: off. */
  token?: string;
  /** Default 128 MiB. FACT: the real one has no limit of its own; the proxies in front of it have. */
  maxBodyBytes?: number;
}

/** The Workflow Orchestrator's callback API, without sockets. */
export interface Orchestrator extends Upstream {
  readonly processes: Processes;
  /** Can be changed while it runs. A reset puts them back. */
  readonly switches: OrchestratorSwitches;
  /** What a caller must show; undefined while OAuth is off. */
  readonly token: string | undefined;
}

/** FACT, observed on orchestrator-core 5.3.0: routes, order of checks, status codes, error bodies, states, races. */
export function createOrchestrator(
  clock: OwnedClock,
  random: Random,
  options: OrchestratorOptions = {},
): Orchestrator {
  const initialSwitches: OrchestratorSwitches = {
    locked: options.locked ?? false,
    raceWindowMs: options.raceWindowMs ?? 0,
    brokerDown: options.brokerDown ?? false,
    testing: options.testing ?? false,
    workflowRemoved: options.workflowRemoved ?? false,
  };
  const switches = { ...initialSwitches };
  const engine = createEngine(clock, random, switches, options);
  const callbacks = createCallbacks(engine, switches);
  const processes = createProcesses(engine);
  const route = createRouter(createEndpoints(engine, callbacks, switches));

  async function answer(request: HttpRequest, body: DecodedBody): Promise<HttpAnswer> {
    const routed = route(request);
    if ("answer" in routed) {
      return routed.answer;
    }
    // INFERENCE, from FastAPI's source: broken JSON is refused before credentials and lock are asked for.
    if (routed.endpoint.readsBody && body.kind === "refused") {
      return body.answer;
    }
    const refusal = refuseCredentials(request, options.token);
    if (refusal !== undefined) {
      return refusal;
    }
    if (routed.endpoint.needsEngine && switches.locked) {
      return problem(503, "Engine is locked cannot accept changes on processes at this time");
    }
    return await routed.endpoint.run(routed.params, body);
  }

  return {
    processes,
    switches,
    token: options.token,
    maxBodyBytes: options.maxBodyBytes ?? 128 * 1024 * 1024,
    tooLarge: () => emptyAnswer(413),
    crashed: () => fromUvicorn(unhandledError()),
    receive(request) {
      const body = decodeBody(request);
      const subject = /\/processes\/([^/]+)\/callback\//.exec(request.path)?.[1]?.toLowerCase();
      return {
        ...(body.kind === "json" ? { parsed: body.value } : {}),
        ...(subject === undefined ? {} : { subject }),
        process: async () => fromUvicorn(await answer(request, body)),
      };
    },
    control: (request, path) => controlOrchestrator(request, path, processes, switches),
    reset() {
      engine.reset();
      Object.assign(switches, initialSwitches);
    },
  };
}

function fromUvicorn(answer: HttpAnswer): HttpAnswer {
  return { ...answer, headers: { server: "uvicorn", ...answer.headers } };
}

/** FACT: no token, or a Basic header, is 403. INFERENCE: another token is 401. */
function refuseCredentials(request: HttpRequest, token: string | undefined): HttpAnswer | undefined {
  if (token === undefined) {
    return undefined;
  }
  const [, given] = /^bearer (.+)$/i.exec(request.headers.authorization ?? "") ?? [];
  if (given === undefined) {
    return jsonAnswer(403, { detail: "Not authenticated" });
  }
  return given === token ? undefined : jsonAnswer(401, { detail: "User is not active" });
}
