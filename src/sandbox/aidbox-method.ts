import type { Definitions } from "./aidbox-definitions.ts";
import type { ParamError, ParamSchema } from "./aidbox-params.ts";
import type { Reply, RpcError } from "./aidbox-resource.ts";
import type { Tasks } from "./aidbox-tasks.ts";
import type { Workflows } from "./aidbox-workflows.ts";
import type { Json, JsonObject } from "./json.ts";

export interface Services {
  readonly tasks: Tasks;
  readonly workflows: Workflows;
  readonly definitions: Definitions;
}

/** What a call answers with. FACT: one of the two. */
export type RpcReply = { readonly result: unknown } | { readonly error: RpcError };

export interface Method {
  readonly params: ParamSchema;
  /** What a schema of single parameters cannot say. Asked when the parameters conform to `params`. */
  check?(params: JsonObject): ParamError[];
  /** Called when nothing is wrong with the parameters. */
  run(services: Services, params: JsonObject): RpcReply | Promise<RpcReply>;
}

export const creation = {
  definition: { required: "string" },
  params: { required: "json-object" },
  id: "string",
  label: "string",
  executeAt: "instant",
} as const;

export const sort = { createdAt: ["asc", "desc"], lastUpdated: ["asc", "desc"] } as const;

export function text(value: Json | undefined): string {
  return typeof value === "string" ? value : "";
}

export function resourceReply(reply: Reply<unknown>): RpcReply {
  return reply.error === undefined ? { result: { resource: reply.value } } : { error: reply.error };
}
