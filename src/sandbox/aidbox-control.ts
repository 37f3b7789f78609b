import type { DefinitionSettings } from "./aidbox-definitions.ts";
import type { Services } from "./aidbox-method.ts";
import { controlError, controlObject } from "./control-surface.ts";
import { type HttpAnswer, type HttpRequest, jsonAnswer } from "./http-message.ts";
import type { JsonObject } from "./json.ts";

/**
 * `GET /_sandbox/tasks`, `…/tasks/{id}` (with log and executions), `…/workflows`, `…/workflows/{id}` (with activities
 * and decisions), `…/definitions`; `PUT /_sandbox/definitions/{namespace}/{name}` with settings.
 */
export function controlAidbox(
  request: HttpRequest,
  path: string,
  { tasks, workflows, definitions }: Services,
): HttpAnswer | undefined {
  const [, definition] = /^\/definitions\/([^/]+\/[^/]+)$/.exec(path) ?? [];
  if (request.method === "PUT" && definition !== undefined) {
    return jsonAnswer(200, definitions.define(definition, readSettings(controlObject(request))));
  }
  if (request.method !== "GET") {
    return undefined;
  }
  if (path === "/definitions") {
    return jsonAnswer(200, definitions.list());
  }
  if (path === "/workflows") {
    return jsonAnswer(200, workflows.list());
  }
  const resources = path === "/tasks" ? tasks.list().map(({ resource }) => resource) : undefined;
  if (resources !== undefined) {
    return jsonAnswer(200, resources);
  }
  const [, kind, id = ""] = /^\/(tasks|workflows)\/([^/]+)$/.exec(path) ?? [];
  if (kind === "tasks") {
    return taskAnswer(tasks.get(id));
  }
  if (kind !== "workflows") {
    return undefined;
  }
  const resource = workflows.get(id);
  if (resource === undefined) {
    return controlError("no such workflow", 404);
  }
  return jsonAnswer(200, {
    resource,
    activities: workflows.activities(id),
    decisions: workflows.decisions(id),
  });
}

function taskAnswer(record: ReturnType<Services["tasks"]["get"]>): HttpAnswer {
  if (record === undefined) {
    return controlError("no such task", 404);
  }
  const { resource, log, executions } = record;
  return jsonAnswer(200, { resource, log, executions });
}

const kindBySetting: Record<keyof DefinitionSettings, "number" | "list of strings"> = {
  requestedToStartTimeout: "number",
  inProgressTimeout: "number",
  allowedRetryCount: "number",
  retryDelay: "number",
  concurrencyLimit: "number",
  concurrencyPath: "list of strings",
  requiredParamsKeys: "list of strings",
  requiredResultKeys: "list of strings",
  requiredErrorKeys: "list of strings",
};

function readSettings(body: JsonObject): Partial<DefinitionSettings> {
  for (const [name, value] of Object.entries(body)) {
    const kind = Object.hasOwn(kindBySetting, name)
      ? kindBySetting[name as keyof DefinitionSettings]
      : undefined;
    const isStrings = Array.isArray(value) && value.every((item) => typeof item === "string");
    if (kind === undefined) {
      throw new TypeError(`no such setting: ${name}`);
    }
    const isRight = kind === "number" ? typeof value === "number" : isStrings;
    if (!isRight) {
      throw new TypeError(`${name} is a ${kind}`);
    }
  }
  return body as Partial<DefinitionSettings>;
}
