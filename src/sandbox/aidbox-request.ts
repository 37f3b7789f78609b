import type { IncomingHttpHeaders } from "node:http";
import { decodeUtf8, type HttpRequest, mediaType } from "./http-message.ts";
import { hasStorableText, isJsonObject, type Json, parseJson } from "./json.ts";
import { jsonOfYaml, readYaml11 } from "./yaml-1-1.ts";

export type Format = "yaml" | "json";

/** A request to `/rpc`, as far as it could be read. */
export type RpcRequest =
  | {
      readonly parsed: unknown;
      readonly method: string;
      /** With values that only YAML has, such as dates. */
      readonly params: unknown;
      /** The same as JSON. */
      readonly json: Json;
    }
  | { readonly parsed?: unknown; readonly status: number; readonly problem: string };

/** FACT: a request is YAML or JSON by its content type. UNKNOWN: the answers to everything that is neither. */
export function readRpcRequest({ headers, body }: HttpRequest): RpcRequest {
  const type = mediaType(headers);
  const isYaml = type === "text/yaml" || type === "application/yaml" || type === "application/x-yaml";
  if (!isYaml && type !== "application/json") {
    return { status: 415, problem: `Unsupported content type '${type}'` };
  }
  const text = decodeUtf8(body);
  if (text === undefined) {
    return { status: 400, problem: "The body is not UTF-8" };
  }
  try {
    const parsed: unknown = isYaml ? readYaml11(text) : parseJson(text);
    return readEnvelope(parsed, isYaml ? jsonOfYaml : (value) => value as Json);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { status: 400, problem: `Could not parse the body: ${reason}` };
  }
}

function readEnvelope(parsed: unknown, toJson: (value: unknown) => Json): RpcRequest {
  if (!isJsonObject(parsed)) {
    return { parsed, status: 422, problem: "The body is not one request object" };
  }
  const { method, params = {} }: { method?: unknown; params?: unknown } = parsed;
  if (typeof method !== "string") {
    return { parsed, status: 422, problem: ":method is required" };
  }
  const json = toJson(params);
  // INFERENCE: Aidbox stores params in PostgreSQL.
  if (!hasStorableText(json)) {
    return { parsed, status: 422, problem: "unsupported Unicode escape sequence" };
  }
  return { parsed, method, params, json };
}

/** FACT: `_format` and `accept` choose. UNKNOWN: what happens without either; here JSON, the primary format. */
export function answerFormat(query: URLSearchParams, headers: IncomingHttpHeaders): Format {
  const asked = query.get("_format") ?? headers.accept ?? "";
  const yaml = asked.indexOf("yaml");
  const json = asked.indexOf("json");
  return yaml >= 0 && (json < 0 || yaml < json) ? "yaml" : "json";
}
