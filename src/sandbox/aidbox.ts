import { callMethod } from "./aidbox-call-method.ts";
import { controlAidbox } from "./aidbox-control.ts";
import { decisionDefinition } from "./aidbox-decisions.ts";
import { createDefinitions, type DefinitionSource, type Definitions } from "./aidbox-definitions.ts";
import type { Services } from "./aidbox-method.ts";
import { answerFormat, type RpcRequest, readRpcRequest } from "./aidbox-request.ts";
import { createStamp } from "./aidbox-resource.ts";
import { createTasks, type Tasks } from "./aidbox-tasks.ts";
import { createWorkflows, type Workflows } from "./aidbox-workflows.ts";
import type { OwnedClock } from "./clock.ts";
import { type HttpAnswer, type HttpRequest, jsonAnswer, textAnswer } from "./http-message.ts";
import type { Random } from "./ids.ts";
import { isJsonObject } from "./json.ts";
import type { Upstream } from "./upstream.ts";
import { formatYaml, type YamlStyle } from "./yaml-answer.ts";

export interface AidboxOptions extends Partial<YamlStyle> {
  /** Default `taskgate`. */
  clientId?: string;
  /** Default `sandbox-secret`. */
  clientSecret?: string;
  /** RPC methods that the access policy denies: 403. Default: none. */
  deniedMethods?: readonly string[];
  /** By `namespace/name`. */
  definitions?: DefinitionSource;
  /** Refuse definitions that were not registered. Default false: they come into being with default settings. */
  strictDefinitions?: boolean;
  /** Default 20 MiB: FACT. */
  maxBodyBytes?: number;
}

/** Aidbox with its Task and Workflow services, without sockets. */
export interface Aidbox extends Upstream {
  readonly tasks: Tasks;
  readonly workflows: Workflows;
  readonly definitions: Definitions;
  readonly clientId: string;
  readonly clientSecret: string;
}

/**
 * FACT: envelope, methods, parameters, results, statuses, timers, Basic authorization, 200 for success, 422 for the
 * one published failure. UNKNOWN, and invented here in its likeness: every other failure's `type`, message and status.
 */
export function createAidbox(clock: OwnedClock, random: Random, options: AidboxOptions = {}): Aidbox {
  const {
    clientId = "taskgate",
    clientSecret = "sandbox-secret",
    foldIds = true,
    deniedMethods = [],
  } = options;
  const authorization = `Basic ${Buffer.from(`${clientId}:${clientSecret}`).toString("base64")}`;
  const stamp = createStamp(clock);
  const definitions: Definitions = createDefinitions(
    { [decisionDefinition]: {}, ...options.definitions },
    options.strictDefinitions ?? false,
    (definition) => tasks.definitionChanged(definition),
  );
  const tasks: Tasks = createTasks({
    clock,
    random,
    stamp,
    definitions,
    decisionProblem: (task, result) => workflows.decisionProblem(task, result),
    onDone: (task) => workflows.taskDone(task),
  });
  const workflows: Workflows = createWorkflows({ clock, random, stamp, tasks, definitions });
  definitions.reset();
  const services: Services = { tasks, workflows, definitions };

  async function answer(request: HttpRequest, rpc: RpcRequest): Promise<HttpAnswer> {
    const format = answerFormat(request.query, request.headers);
    const send = (status: number, value: unknown): HttpAnswer =>
      format === "json"
        ? jsonAnswer(status, value)
        : textAnswer(status, "text/yaml", formatYaml(value, { foldIds }));
    if (request.headers.authorization !== authorization) {
      return send(401, operationOutcome("unauthorized", "login", "Unauthorized"));
    }
    const resource = request.method === "GET" ? readResource(request.path, services) : undefined;
    if (resource !== undefined) {
      return send(200, resource);
    }
    if (request.method !== "POST" || request.path !== "/rpc") {
      const diagnostics = `${request.method} ${request.path} not found`;
      return send(404, operationOutcome("not-found", "not-found", diagnostics));
    }
    if ("problem" in rpc) {
      const isReadable = rpc.status === 422;
      const outcome = operationOutcome("invalid", "invalid", rpc.problem);
      return send(rpc.status, isReadable ? { error: { message: rpc.problem } } : outcome);
    }
    if (deniedMethods.includes(rpc.method)) {
      return send(403, operationOutcome("forbidden", "forbidden", "Forbidden"));
    }
    const reply = await callMethod(services, rpc.method, rpc.params, rpc.json);
    return send("error" in reply ? 422 : 200, reply);
  }

  return {
    ...services,
    clientId,
    clientSecret,
    maxBodyBytes: options.maxBodyBytes ?? 20_971_520,
    tooLarge: () => jsonAnswer(413, operationOutcome("too-large", "too-long", "Request body is too large")),
    crashed: () => jsonAnswer(500, operationOutcome("exception", "exception", "Internal error")),
    receive(request) {
      const rpc = readRpcRequest(request);
      const id = "params" in rpc && isJsonObject(rpc.params) ? rpc.params.id : undefined;
      return {
        ...(rpc.parsed === undefined ? {} : { parsed: rpc.parsed }),
        ...("method" in rpc ? { rpcMethod: rpc.method } : {}),
        ...(typeof id === "string" ? { subject: id } : {}),
        process: () => answer(request, rpc),
      };
    },
    control: (request, path) => controlAidbox(request, path, services),
    reset() {
      workflows.reset();
      tasks.reset();
      definitions.reset();
      clock.cancelAll();
    },
  };
}

/** FACT: `GET /AidboxWorkflow/{id}` reads a workflow. INFERENCE: `GET /AidboxTask/{id}` reads a task. */
function readResource(path: string, { tasks, workflows }: Services): unknown {
  const [, type, id = ""] = /^\/(AidboxTask|AidboxWorkflow)\/([^/]+)$/.exec(path) ?? [];
  if (type === undefined) {
    return undefined;
  }
  return type === "AidboxTask" ? tasks.get(id)?.resource : workflows.get(id);
}

/** FACT: the shape in which authorization fails. */
function operationOutcome(id: string, code: string, diagnostics: string): unknown {
  return {
    resourceType: "OperationOutcome",
    id,
    text: { status: "generated", div: diagnostics },
    issue: [{ severity: "fatal", code, diagnostics }],
  };
}
