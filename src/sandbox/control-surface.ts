import { type Clock, runAt } from "./clock.ts";
import type { FaultRule } from "./faults.ts";
import { emptyAnswer, type HttpAnswer, type HttpRequest, jsonAnswer } from "./http-message.ts";
import type { UpstreamServer } from "./http-server.ts";
import { isJsonObject, type Json, type JsonObject, parseJson } from "./json.ts";
import type { Upstream } from "./upstream.ts";

/** An answer, and what is to happen once it has been sent. */
export interface ControlAnswer extends HttpAnswer {
  afterwards?: () => void;
}

/** A control call that cannot be obeyed, answered with 400 and its message. */
export function controlError(message: string, status = 400): HttpAnswer {
  return jsonAnswer(status, { error: message });
}

/** The JSON object in a control call's body; an empty body is an empty object. Throws a TypeError for anything else. */
export function controlObject(request: HttpRequest): JsonObject {
  const value = controlBody(request) ?? {};
  if (!isJsonObject(value)) {
    throw new TypeError("the body is a JSON object");
  }
  return value;
}

function controlBody(request: HttpRequest): Json | undefined {
  const text = request.body.toString();
  if (text.trim() === "") {
    return undefined;
  }
  try {
    return parseJson(text);
  } catch (error) {
    throw new TypeError(`the body is not JSON: ${String(error)}`);
  }
}

/** Sets the named switches. Throws a TypeError for a name or a type that is not the target's, and then sets none. */
export function setSwitches<T extends object>(target: T, changes: JsonObject): void {
  for (const [name, value] of Object.entries(changes)) {
    const current: unknown = Object.hasOwn(target, name) ? target[name as keyof T] : undefined;
    if (current === undefined) {
      throw new TypeError(`no such setting: ${name}`);
    }
    if (typeof value !== typeof current) {
      throw new TypeError(`${name} is a ${typeof current}`);
    }
  }
  Object.assign(target, changes);
}

/**
 * Answers a call to the control surface that every upstream has, or passes it on to the upstream's own part:
 * `GET /_sandbox/requests` (newer than `?after=seq`) and `DELETE`; `GET /_sandbox/faults`, `PUT` and `DELETE`;
 * `POST /_sandbox/reset`.
 */
export async function answerControl(
  request: HttpRequest,
  upstream: Upstream,
  server: UpstreamServer,
  clock: Clock,
): Promise<ControlAnswer> {
  const path = request.path.slice("/_sandbox".length);
  try {
    const answer =
      (await commonControl(`${request.method} ${path}`, request, server, clock)) ??
      (await upstream.control(request, path));
    return answer ?? controlError(`no such control call: ${request.method} ${request.path}`, 404);
  } catch (error) {
    return error instanceof TypeError ? controlError(error.message) : controlError(String(error), 500);
  }
}

async function commonControl(
  call: string,
  request: HttpRequest,
  server: UpstreamServer,
  clock: Clock,
): Promise<ControlAnswer | undefined> {
  switch (call) {
    case "GET /requests": {
      const after = Number(request.query.get("after") ?? 0);
      const found = server.requests.filter(({ seq }) => seq > after);
      return jsonAnswer(200, found);
    }
    case "DELETE /requests":
      server.clearRequests();
      return emptyAnswer(204);
    case "GET /faults": {
      const rules = server.faults.rules.map(({ rule, id, fired }) => ({ ...rule, id, fired }));
      return jsonAnswer(200, rules);
    }
    case "PUT /faults":
      return putFaults(controlBody(request), server, clock);
    case "DELETE /faults":
      server.faults.clear();
      return emptyAnswer(204);
    case "POST /reset":
      await server.reset();
      return emptyAnswer(204);
    default:
      return undefined;
  }
}

/** `[rule, …]` or `{"rules": [rule, …], "downMs": 500}`. */
function putFaults(body: Json | undefined, server: UpstreamServer, clock: Clock): ControlAnswer {
  const { rules, downMs } = isJsonObject(body) ? body : { rules: body, downMs: undefined };
  if (rules !== undefined) {
    if (!Array.isArray(rules)) {
      throw new TypeError("the body is an array of rules");
    }
    server.faults.set(rules as unknown as FaultRule[]);
  }
  if (downMs === undefined) {
    return emptyAnswer(204);
  }
  // Without an end it could not be ended from here: the control surface is down as well.
  if (typeof downMs !== "number" || downMs <= 0) {
    throw new TypeError("downMs is a positive number");
  }
  // Nobody is left to be told when the port is lost meanwhile.
  const turn = (down: boolean) => void server.faults.setDown(down).catch(() => {});
  const goDown = () => {
    turn(true);
    runAt(clock, clock.now() + downMs, () => turn(false));
  };
  return { ...emptyAnswer(204), afterwards: goDown };
}
