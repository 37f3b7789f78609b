import type { Clock } from "./clock.ts";
import { controlError, controlObject, setSwitches } from "./control-surface.ts";
import {
  decodeUtf8,
  emptyAnswer,
  type HttpAnswer,
  type HttpRequest,
  jsonAnswer,
  mediaType,
} from "./http-message.ts";
import { isJsonObject, type Json, parseJson } from "./json.ts";
import { type EventRules, malformed, type OrchestraRefusal, readEvent } from "./orchestra-event.ts";
import { createTaskRuns, type TaskRunRules, type TaskRuns } from "./orchestra-task-runs.ts";
import type { Reception, Upstream } from "./upstream.ts";

export interface OrchestraSettings extends TaskRunRules {
  /** Answer refusals with status 200 and `success: false`, because their real status is unknown. */
  refuseWithStatus200: boolean;
}

/** Every setting defaults to false. */
export interface OrchestraOptions extends EventRules, Partial<OrchestraSettings> {
  /** The exact path that events are posted to. Default `/`. */
  path?: string;
  /** Default `sandbox-key`. */
  apiKey?: string;
  /** Default 16 MiB. UNKNOWN: the real limit. */
  maxBodyBytes?: number;
}

/** Orchestra's webhook for self-hosted tasks, without sockets. */
export interface Orchestra extends Upstream {
  readonly taskRuns: TaskRuns;
  /** Can be changed while it runs. A reset puts them back. */
  readonly settings: OrchestraSettings;
  readonly path: string;
  readonly apiKey: string;
}

/**
 * FACT: method, authorization, body fields, and the two shapes of an answer. UNKNOWN, and invented here: every HTTP
 * status but the 200 of a success, every `code` but `TASK_NOT_FOUND`, every text but that of an accepted output.
 */
export function createOrchestra(clock: Clock, options: OrchestraOptions = {}): Orchestra {
  const { path = "/", apiKey = "sandbox-key" } = options;
  const initialSettings: OrchestraSettings = {
    requireRegistration: options.requireRegistration ?? false,
    refuseAfterOutcome: options.refuseAfterOutcome ?? false,
    refuseWithStatus200: options.refuseWithStatus200 ?? false,
  };
  const settings = { ...initialSettings };
  const taskRuns = createTaskRuns(clock, settings);

  function refuse({ status, error, code }: OrchestraRefusal): HttpAnswer {
    return jsonAnswer(settings.refuseWithStatus200 ? 200 : status, { success: false, error, code });
  }

  function answer(request: HttpRequest, body: Json | undefined): HttpAnswer {
    const notFound = { success: false, error: "Not found", code: "NOT_FOUND" };
    if (request.path !== path) {
      return jsonAnswer(404, notFound);
    }
    if (request.method !== "POST") {
      return emptyAnswer(405, { allow: "POST" });
    }
    if (request.headers.authorization !== `Bearer ${apiKey}`) {
      return refuse({ status: 401, error: "Missing or invalid API key", code: "UNAUTHORIZED" });
    }
    if (mediaType(request.headers) !== "application/json") {
      return refuse(malformed("Content-Type is not application/json"));
    }
    if (body === undefined) {
      return refuse(malformed("The body is not JSON"));
    }
    const event = readEvent(body, options);
    if ("error" in event) {
      return refuse(event);
    }
    const refusal = taskRuns.apply(event);
    if (refusal !== undefined) {
      return refuse(refusal);
    }
    const message = event.type === "SET_OUTPUT" ? "Outputs set successfully" : "Event received";
    return jsonAnswer(200, { success: true, message, task_run_id: event.taskRunId });
  }

  return {
    taskRuns,
    settings,
    path,
    apiKey,
    maxBodyBytes: options.maxBodyBytes ?? 16 * 1024 * 1024,
    tooLarge: () => refuse({ status: 413, error: "Payload too large", code: "PAYLOAD_TOO_LARGE" }),
    crashed: () => emptyAnswer(500),
    reset() {
      taskRuns.reset();
      Object.assign(settings, initialSettings);
    },
    receive(request): Reception {
      const body = readJson(request);
      const id = isJsonObject(body) ? body.task_run_id : undefined;
      return {
        ...(body === undefined ? {} : { parsed: body }),
        ...(typeof id === "string" ? { subject: id } : {}),
        process: () => answer(request, body),
      };
    },
    control: (request, controlPath) => control(request, controlPath, taskRuns, settings),
  };
}

function readJson(request: HttpRequest): Json | undefined {
  const text = decodeUtf8(request.body);
  try {
    return text === undefined ? undefined : parseJson(text);
  } catch {
    return undefined;
  }
}

/** `GET /_sandbox/task-runs`, `GET` and `PUT /_sandbox/task-runs/{id}`, `GET` and `PUT /_sandbox/settings`. */
function control(
  request: HttpRequest,
  path: string,
  taskRuns: TaskRuns,
  settings: OrchestraSettings,
): HttpAnswer | undefined {
  const id = /^\/task-runs\/([^/]+)$/.exec(path)?.[1];
  if (id !== undefined) {
    return controlTaskRun(request, id, taskRuns);
  }
  switch (`${request.method} ${path}`) {
    case "GET /task-runs":
      return jsonAnswer(200, taskRuns.list());
    case "PUT /settings":
      setSwitches(settings, controlObject(request));
      return jsonAnswer(200, settings);
    case "GET /settings":
      return jsonAnswer(200, settings);
    default:
      return undefined;
  }
}

/** `GET`, or `PUT` with `{"status": "RUNNING"}` to register it, `{"known": false}` to disown it. */
function controlTaskRun(request: HttpRequest, id: string, taskRuns: TaskRuns): HttpAnswer | undefined {
  if (request.method === "PUT") {
    const { known = true, status } = controlObject(request);
    taskRuns.register(id, typeof status === "string" ? status : undefined);
    if (known !== true) {
      taskRuns.disown(id);
    }
  } else if (request.method !== "GET") {
    return undefined;
  }
  const run = taskRuns.get(id);
  return run === undefined ? controlError("no such task run", 404) : jsonAnswer(200, run);
}
