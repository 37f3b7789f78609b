import { controlError, controlObject, setSwitches } from "./control-surface.ts";
import { type HttpAnswer, type HttpRequest, jsonAnswer } from "./http-message.ts";
import type { JsonObject } from "./json.ts";
import type { OrchestratorSwitches } from "./orchestrator-callbacks.ts";
import type { ProcessPlan } from "./orchestrator-process.ts";
import type { Processes } from "./orchestrator-processes.ts";

/**
 * `POST /_sandbox/processes` with a plan, `GET /_sandbox/processes`, `GET /_sandbox/processes/{id}`,
 * `POST /_sandbox/processes/{id}/action-returned`, `…/retry`, `…/resume`, `…/abort`, `GET` and `PUT /_sandbox/engine`.
 */
export function controlOrchestrator(
  request: HttpRequest,
  path: string,
  processes: Processes,
  switches: OrchestratorSwitches,
): HttpAnswer | undefined {
  switch (`${request.method} ${path}`) {
    case "POST /processes":
      return jsonAnswer(201, processes.start(readPlan(controlObject(request))));
    case "GET /processes":
      return jsonAnswer(200, processes.list());
    case "PUT /engine":
      setSwitches(switches, controlObject(request));
      return jsonAnswer(200, switches);
    case "GET /engine":
      return jsonAnswer(200, switches);
  }
  const [, id = "", action] = /^\/processes\/([^/]+)(?:\/([a-z-]+))?$/.exec(path) ?? [];
  const before = processes.get(id);
  if (before === undefined) {
    return id === "" ? undefined : controlError("no such process", 404);
  }
  if (request.method === "GET" && action === undefined) {
    return jsonAnswer(200, before);
  }
  const act = request.method === "POST" ? actionOf(processes, action) : undefined;
  if (act === undefined) {
    return undefined;
  }
  if (!act(id)) {
    return controlError(`not possible while the process is ${before.status}`, 409);
  }
  return jsonAnswer(200, processes.get(id));
}

function actionOf(processes: Processes, name: string | undefined): ((id: string) => boolean) | undefined {
  switch (name) {
    case "action-returned":
      return processes.actionReturned;
    case "retry":
    case "resume":
      return processes.resume;
    case "abort":
      return processes.abort;
    default:
      return undefined;
  }
}

function readPlan(body: JsonObject): ProcessPlan {
  const { validate, ...numbers } = body;
  if (validate !== undefined && validate !== "none" && validate !== "return-code") {
    throw new TypeError('validate is "return-code" or "none"');
  }
  const plan: ProcessPlan = validate === undefined ? {} : { validate };
  for (const [name, value] of Object.entries(numbers)) {
    if (name !== "actionMs" && name !== "steps" && name !== "timeoutMs" && name !== "validateMs") {
      throw new TypeError(`no such part of a plan: ${name}`);
    }
    if (typeof value !== "number" || value < 0) {
      throw new TypeError(`${name} is a number, not negative`);
    }
    plan[name] = value;
  }
  return plan;
}
