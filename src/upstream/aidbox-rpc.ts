import { Code } from "@connectrpc/connect";
import type { AttemptFailure } from "../model/attempt-result.ts";
import type { Credential } from "../model/credential.ts";
import type { HttpClient } from "./http-client.ts";
import {
  contentTypeWords,
  excerpt,
  failedAnswer,
  failedExchange,
  type HttpAnswer,
  meaningOfStatus,
} from "./http-failure.ts";
import { rememberLast } from "./remember-last.ts";
import { withCredential } from "./with-credential.ts";
import { type JsonNode, readYaml } from "./yaml-reader.ts";
import { yamlFromJsonText } from "./yaml-writer.ts";

export interface AidboxRpcOptions {
  http: HttpClient;
  /** Path of the base URL, without a trailing slash; often empty. */
  basePath: string;
  clientId: string;
  clientSecret: Credential;
  /** The wall clock, for `Retry-After`. */
  now: () => number;
}

/** What came of one RPC: its `result`, or a failure. */
export type AidboxResult = { readonly kind: "accepted"; readonly result: JsonNode } | AttemptFailure;

/** Aidbox's RPC endpoint. */
export interface AidboxRpc {
  /** Sends one RPC, the YAML that `aidboxBody` made, within `timeoutMs`. */
  send(body: string, timeoutMs: number, signal?: AbortSignal): Promise<AidboxResult>;
}

/** Writes one RPC as YAML. `params` is a JSON object as text. */
export function aidboxBody(method: string, params: string): string {
  return yamlFromJsonText(`{"method":${JSON.stringify(method)},"params":${params}}`);
}

/**
 * Creates the way to Aidbox's RPC endpoint: `POST {base}/rpc` with a YAML body,
 * HTTP Basic (FACT). The answer is asked for as YAML and read as YAML or JSON.
 */
export function createAidboxRpc(options: AidboxRpcOptions): AidboxRpc {
  const path = `${options.basePath}/rpc`;
  const credentialOf = rememberLast((clientSecret: string) => {
    const basic = Buffer.from(`${options.clientId}:${clientSecret}`).toString("base64");
    const headers = {
      authorization: `Basic ${basic}`,
      "content-type": "text/yaml",
      accept: "text/yaml",
    };
    return { headers, secrets: [clientSecret, basic] };
  });
  return {
    send: (body, timeoutMs, signal) =>
      withCredential(options.clientSecret, async (clientSecret) => {
        const { headers, secrets } = credentialOf(clientSecret);
        const exchange = await options.http.post({
          path,
          headers,
          body,
          timeoutMs,
          signal,
        });
        return exchange.kind === "answered"
          ? resultOfAnswer(exchange, secrets, options.now())
          : failedExchange(exchange, "aidbox");
      }),
  };
}

// An `error` is a failure at any status; only a 2xx with a `result` is success.
// The one error that was ever published for these RPCs comes with 422 (FACT).
function resultOfAnswer(answer: HttpAnswer, secrets: readonly string[], nowMs: number): AidboxResult {
  const body = parseBody(answer);
  const meaning = meaningOfStatus(answer.status);
  const errorNode = body?.entries?.get("error");
  const error = errorNode?.text === "null" ? undefined : errorNode;
  const result = body?.entries?.get("result");
  if (error === undefined && meaning === "accepted" && result !== undefined) {
    return { kind: "accepted", result };
  }
  const words = { upstream: "aidbox", ...errorWords(error, body, secrets) };
  if (error === undefined && meaning === "accepted") {
    const said = `${contentTypeWords(answer, secrets)}, and neither a result nor an error in it`;
    return failedAnswer("inDoubt", answer, { ...words, said }, nowMs);
  }
  if (error === undefined && answer.status >= 300 && answer.status < 400) {
    const said = "a redirect, which is not followed: the base URL is wrong";
    return failedAnswer("rejected", answer, { ...words, said }, nowMs);
  }
  const failed = failedAnswer(meaning === "accepted" ? "rejected" : meaning, answer, words, nowMs);
  if (failed.kind === "rejected" && words.said?.startsWith("Invalid params") === true) {
    failed.failure.code = Code.InvalidArgument;
  }
  return failed;
}

function parseBody(answer: HttpAnswer): JsonNode | undefined {
  try {
    return readYaml(answer.body);
  } catch {
    return undefined;
  }
}

// `error` may be any JSON value; the usual one has `message` and `type`, and
// `Invalid params` has a list of `errors` (FACT). The layer in front that checks
// credentials answers with a FHIR OperationOutcome (FACT).
function errorWords(
  error: JsonNode | undefined,
  body: JsonNode | undefined,
  secrets: readonly string[],
): { said?: string; type?: string } {
  if (error === undefined) {
    const diagnostics = textOf(body?.entries?.get("issue")?.items?.[0]?.entries?.get("diagnostics"));
    return diagnostics === undefined ? {} : { said: excerpt(diagnostics, secrets) };
  }
  const type = textOf(error.entries?.get("type"));
  const problems = error.entries?.get("errors")?.items?.map((item) => textOf(item.entries?.get("message")));
  const said = [textOf(error.entries?.get("message")) ?? textOf(error) ?? error.text, ...(problems ?? [])]
    .filter((part) => part !== undefined)
    .join(": ");
  return {
    said: excerpt(said, secrets),
    ...(type === undefined ? {} : { type: excerpt(type, secrets) }),
  };
}

function textOf(node: JsonNode | undefined): string | undefined {
  return node?.text.startsWith('"') ? JSON.parse(node.text) : undefined;
}
