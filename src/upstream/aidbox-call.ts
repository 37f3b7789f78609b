import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import type { Failure } from "../../gen/taskgate/v1/receipt_pb.ts";
import type { CallResult } from "../model/call-result.ts";
import { createFailure, failureWithReason } from "../model/failure.ts";
import { idParams } from "./aidbox-params.ts";
import { type AidboxResult, type AidboxRpc, aidboxBody } from "./aidbox-rpc.ts";
import type { JsonNode } from "./yaml-reader.ts";

/** Reads a value out of an RPC's `result`; undefined: it has not the form that it should. */
export type Pick<Value> = (result: JsonNode) => Value | undefined;

/** Which task or workflow a call is about, and which attempt of it. */
export interface Subject {
  id: string;
  execId?: string;
  /** The RPC that tells its state. Default: `awf.task/status`. */
  statusMethod?: string;
}

/** A result with the reason that its subject's state tells. */
export interface Explanation<Value> {
  result: CallResult<Value>;
  /** The subject, as JSON text; undefined: it was not asked for. */
  state: CallResult<string> | undefined;
}

/** Calls of Aidbox whose failures are already what a caller should hear. */
export type AidboxCall = ReturnType<typeof createAidboxCall>;

/** Creates the calls on top of the RPC endpoint. One call takes at most `timeoutMs`. */
export function createAidboxCall(rpc: AidboxRpc, timeoutMs: number) {
  async function change<Value>(
    method: string,
    params: string,
    pick: Pick<Value>,
    signal?: AbortSignal,
  ): Promise<CallResult<Value>> {
    return callResultOf(await rpc.send(aidboxBody(method, params), timeoutMs, signal), pick);
  }

  async function read<Value>(
    method: string,
    params: string,
    pick: Pick<Value>,
    signal?: AbortSignal,
    extraMs = 0,
  ): Promise<CallResult<Value>> {
    const sent = await rpc.send(aidboxBody(method, params), timeoutMs + extraMs, signal);
    return certain(callResultOf(sent, pick));
  }

  async function explain<Value>(
    result: CallResult<Value>,
    subject: Subject,
    signal?: AbortSignal,
  ): Promise<Explanation<Value>> {
    if (result.kind === "ok") {
      return { result, state: undefined };
    }
    const unknown = unknownReason(result.failure);
    if (unknown !== undefined || !isRefusalOfSubject(result.failure)) {
      return { result: withReason(result, unknown), state: undefined };
    }
    const { id, execId, statusMethod = "awf.task/status" } = subject;
    const state = await read(statusMethod, idParams(id), resource, signal);
    const reason = state.kind === "ok" ? reasonOfState(state.value, execId) : unknownReason(state.failure);
    return { result: withReason(result, reason), state };
  }

  return {
    /** A call that changes something: after a lost answer it is uncertain. */
    change,

    /**
     * A call that changes nothing: whatever fails, it is just unavailable. A poll is
     * one, because Aidbox takes back what it handed to nobody, and a heartbeat,
     * because the next one says the same. `extraMs` is what it waits at Aidbox.
     */
    read,

    /** A read of one thing, which may not be there. */
    async readKnown<Value>(
      method: string,
      params: string,
      pick: Pick<Value>,
      signal?: AbortSignal,
    ): Promise<CallResult<Value>> {
      const result = await read(method, params, pick, signal);
      return result.kind === "failed" ? withReason(result, unknownReason(result.failure)) : result;
    },

    /**
     * Gives a refusal the reason that its subject's own state tells: what Aidbox
     * answers to a stale `execId` or a wrong state is not published.
     */
    async explained<Value>(
      result: CallResult<Value>,
      subject: Subject,
      signal?: AbortSignal,
    ): Promise<CallResult<Value>> {
      return (await explain(result, subject, signal)).result;
    },

    /** The same, with the state that told it. */
    explain,
  };
}

/** Picks `result.resource` as JSON text. */
export function resource(result: JsonNode): string | undefined {
  const node = result.entries?.get("resource");
  return node?.entries === undefined ? undefined : node.text;
}

/** Picks `result.resources` as JSON texts. */
export function resources(result: JsonNode): string[] | undefined {
  const nodes = result.entries?.get("resources")?.items;
  return nodes?.every((node) => node.entries !== undefined) ? nodes.map((node) => node.text) : undefined;
}

function callResultOf<Value>(result: AidboxResult, pick: Pick<Value>): CallResult<Value> {
  if (result.kind !== "accepted") {
    return { kind: "failed", failure: result.failure };
  }
  const value = pick(result.result);
  return value === undefined
    ? {
        kind: "failed",
        failure: createFailure(
          ErrorReason.UPSTREAM_UNCERTAIN,
          "aidbox answered with a result of an unknown form",
          { metadata: { upstream: "aidbox" } },
        ),
      }
    : { kind: "ok", value };
}

function certain<Value>(result: CallResult<Value>): CallResult<Value> {
  return result.kind === "failed" && result.failure.reason === ErrorReason.UPSTREAM_UNCERTAIN
    ? withReason(result, ErrorReason.UPSTREAM_UNAVAILABLE)
    : result;
}

function withReason<Value>(
  result: Extract<CallResult<Value>, { kind: "failed" }>,
  reason: ErrorReason | undefined,
): CallResult<Value> {
  return reason === undefined
    ? result
    : { kind: "failed", failure: failureWithReason(result.failure, reason) };
}

// Only a refusal with an error of Aidbox's own says something of the task; a wrong
// path, a redirect or a body that is too large does not.
function isRefusalOfSubject(failure: Failure): boolean {
  return (
    failure.reason === ErrorReason.UPSTREAM_REJECTED &&
    failure.metadata.upstream_message !== undefined &&
    ["200", "400", "409", "422"].includes(failure.metadata.http_status ?? "")
  );
}

function reasonOfState(resourceJson: string, execId: string | undefined): ErrorReason | undefined {
  const state = JSON.parse(resourceJson) as { status?: unknown; outcome?: unknown; execId?: unknown };
  if (state.status === "done") {
    return state.outcome === "canceled" ? ErrorReason.TASK_CANCELLED : ErrorReason.TASK_FINISHED;
  }
  if (execId === undefined) {
    return undefined;
  }
  if (state.status !== "requested" && state.status !== "in-progress") {
    return ErrorReason.LEASE_EXPIRED;
  }
  return state.execId === execId ? undefined : ErrorReason.LEASE_SUPERSEDED;
}

// INFERENCE: Aidbox's other RPCs answer "Resource not found".
function unknownReason(failure: Failure): ErrorReason | undefined {
  return failure.reason === ErrorReason.UPSTREAM_REJECTED &&
    /^(resource|task|workflow)\b.*\bnot found\b/i.test(failure.metadata.upstream_message ?? "")
    ? ErrorReason.TASK_UNKNOWN
    : undefined;
}
