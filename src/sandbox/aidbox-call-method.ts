import type { Method, RpcReply, Services } from "./aidbox-method.ts";
import { type ParamError, paramErrors } from "./aidbox-params.ts";
import { taskMethods } from "./aidbox-task-methods.ts";
import { workflowMethods } from "./aidbox-workflow-methods.ts";
import { isJsonObject, type Json } from "./json.ts";

const methods: Readonly<Record<string, Method>> = { ...taskMethods, ...workflowMethods };

/**
 * Runs a method. `params` is what the request's reader made of them, in which a date that was not quoted is no string;
 * `json` is the same as JSON.
 */
export async function callMethod(
  services: Services,
  name: string,
  params: unknown,
  json: Json,
): Promise<RpcReply> {
  const method = Object.hasOwn(methods, name) ? methods[name] : undefined;
  // UNKNOWN: what the real one says.
  if (method === undefined) {
    return { error: { message: "Unknown method", method: name } };
  }
  const schemaErrors = paramErrors(method.params, params);
  if (schemaErrors.length > 0 || !isJsonObject(json)) {
    return invalidParams(name, schemaErrors);
  }
  const errors = method.check?.(json) ?? [];
  return errors.length > 0 ? invalidParams(name, errors) : await method.run(services, json);
}

/** FACT: this shape, from other methods of the same endpoint. */
function invalidParams(method: string, errors: readonly ParamError[]): RpcReply {
  return { error: { message: "Invalid params", method, errors } };
}
