import { STATUS_CODES } from "node:http";
import {
  type Checked,
  type DecodedBody,
  readUuid,
  requireObject,
  requireObjectOrText,
  unhandledError,
  validationAnswer,
} from "./fastapi-body.ts";
import { emptyAnswer, type HttpAnswer, jsonAnswer } from "./http-message.ts";
import type { Json } from "./json.ts";
import type { CallbackOutcome, Callbacks, OrchestratorSwitches } from "./orchestrator-callbacks.ts";
import type { Engine } from "./orchestrator-engine.ts";
import type { Process } from "./orchestrator-process.ts";
import type { Route } from "./starlette-router.ts";

export interface Endpoint {
  /** FACT: refused with 503 while the engine is locked. The others are not. */
  readonly needsEngine?: true;
  /** The framework reads the body first, and may refuse it. */
  readonly readsBody?: true;
  run(params: readonly string[], body: DecodedBody): HttpAnswer | Promise<HttpAnswer>;
}

/** The routes of the Orchestrator that a callback's sender or its operator may use. */
export function createEndpoints(
  engine: Engine,
  callbacks: Callbacks,
  switches: OrchestratorSwitches,
): Route<Endpoint>[] {
  const complete: Endpoint = {
    needsEngine: true,
    readsBody: true,
    run: (params, body) => callback(params, requireObject(body), body, callbacks.complete),
  };
  const progress: Endpoint = {
    needsEngine: true,
    readsBody: true,
    run: (params, body) => callback(params, requireObjectOrText(body), body, callbacks.progress),
  };
  const resume: Endpoint = {
    needsEngine: true,
    readsBody: true,
    run: (params, body) =>
      ofProcess(params, (process) => {
        if (body.kind === "absent") {
          return validationAnswer(requireObject(body).errors ?? []);
        }
        if (engine.resume(process)) {
          return noContent();
        }
        return problem(409, `Resuming a ${process.status} workflow is not possible`);
      }),
  };
  const abort: Endpoint = {
    run: (params) =>
      ofProcess(params, (process) => {
        engine.abort(process);
        return noContent();
      }),
  };
  const show: Endpoint = {
    run: (params) => ofProcess(params, processAnswer),
  };
  const counts: Endpoint = {
    run: () => jsonAnswer(200, statusCounts(engine.list())),
  };
  const index: Endpoint = {
    run: () => jsonAnswer(200, "Orchestrator Core"),
  };
  const readSettings: Endpoint = {
    run: () => jsonAnswer(200, settings()),
  };
  const writeSettings: Endpoint = {
    readsBody: true,
    run: (_params, body) => setGlobalLock(body),
  };

  async function callback<T extends Json>(
    [id = "", token = ""]: readonly string[],
    payload: Checked<T>,
    body: DecodedBody,
    deliver: (id: string, token: string, value: T) => Promise<CallbackOutcome>,
  ): Promise<HttpAnswer> {
    // FACT: bytes that are no text cannot even be quoted in an error.
    if (body.kind === "raw" && body.text === undefined) {
      return unhandledError();
    }
    const uuid = readUuid("process_id", id);
    if (uuid.errors !== undefined || payload.errors !== undefined) {
      return validationAnswer([...(uuid.errors ?? []), ...(payload.errors ?? [])]);
    }
    return outcomeAnswer(await deliver(uuid.value, token, payload.value), uuid.value);
  }

  function ofProcess([id = ""]: readonly string[], run: (process: Process) => HttpAnswer): HttpAnswer {
    const uuid = readUuid("process_id", id);
    if (uuid.errors !== undefined) {
      return validationAnswer(uuid.errors);
    }
    const process = engine.get(uuid.value);
    return process === undefined ? outcomeAnswer("unknown-process", uuid.value) : run(process);
  }

  function settings(): Json {
    const running = engine.list().filter(({ status }) => status === "running").length;
    const locked = running > 0 ? "PAUSING" : "PAUSED";
    return {
      global_lock: switches.locked,
      running_processes: running,
      global_status: switches.locked ? locked : "RUNNING",
    };
  }

  function setGlobalLock(body: DecodedBody): HttpAnswer {
    const checked = requireObject(body);
    if (checked.errors !== undefined) {
      return validationAnswer(checked.errors);
    }
    const { global_lock: lock } = checked.value;
    if (typeof lock !== "boolean") {
      return validationAnswer([
        { type: "missing", loc: ["body", "global_lock"], msg: "Field required", input: checked.value },
      ]);
    }
    switches.locked = lock;
    return jsonAnswer(200, settings());
  }

  return [
    { method: "POST", path: "/api/processes/{}/callback/{}", endpoint: complete },
    { method: "POST", path: "/api/processes/{}/callback/{}/progress", endpoint: progress },
    { method: "PUT", path: "/api/processes/{}/resume", endpoint: resume },
    { method: "PUT", path: "/api/processes/{}/abort", endpoint: abort },
    { method: "GET", path: "/api/processes/status-counts", endpoint: counts },
    { method: "GET", path: "/api/processes/{}", endpoint: show },
    { method: "GET", path: "/", endpoint: index },
    { method: "GET", path: "/api/settings/status", endpoint: readSettings },
    { method: "PUT", path: "/api/settings/status", endpoint: writeSettings },
  ];
}

/** FACT: FastAPI names the type of what is not there. */
function noContent(): HttpAnswer {
  return emptyAnswer(204, { "content-type": "application/json" });
}

/** FACT: the error body of the Orchestrator's own refusals; the framework's have only `detail`. */
export function problem(status: number, detail: string): HttpAnswer {
  return jsonAnswer(status, { detail, status, title: STATUS_CODES[status] });
}

function outcomeAnswer(outcome: CallbackOutcome, id: string): HttpAnswer {
  switch (outcome) {
    case "unknown-process":
      return problem(404, `Process with process_id ${id} not found`);
    case "not-awaiting":
      return problem(409, "This process is not in an awaiting state.");
    case "invalid-token":
      return problem(404, "Invalid token");
    case "workflow-removed":
      return problem(400, "This workflow cannot be resumed because it has been removed");
    case "unstorable":
    case "broker-down":
      return unhandledError();
    case "accepted":
      return jsonAnswer(200, null);
  }
}

/** FACT: `last_status` and `current_state.callback_route`. The rest is a part of what the real one tells. */
function processAnswer(process: Process): HttpAnswer {
  return jsonAnswer(200, {
    process_id: process.id,
    workflow_name: "sandbox",
    is_task: false,
    last_status: process.status,
    failed_reason: process.failedReason,
    current_state: process.row.state,
  });
}

function statusCounts(processes: readonly Process[]): Json {
  const counts: Record<string, number> = {};
  for (const { status } of processes) {
    counts[status] = (counts[status] ?? 0) + 1;
  }
  return { process_counts: counts, task_counts: {} };
}
