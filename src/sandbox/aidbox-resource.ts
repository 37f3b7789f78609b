import type { Clock } from "./clock.ts";
import type { Json } from "./json.ts";

/** FACT: every field and status, as Aidbox spells them. A resource is never changed, only replaced. */
export interface TaskResource {
  readonly resourceType: "AidboxTask";
  readonly id: string;
  readonly definition: string;
  readonly params: Json;
  readonly status: "created" | "waiting" | "ready" | "requested" | "in-progress" | "done";
  readonly meta: Meta;
  /** From the hand-out on. UNKNOWN: whether it stays when the task goes back to `ready` or `waiting`; here it goes. */
  readonly execId?: string;
  /** As given by the caller (a zone is optional), or set for a retry. */
  readonly executeAt?: string;
  readonly label?: string;
  readonly requester?: Reference;
  readonly "workflow-definition"?: string;
  /** INFERENCE: attempts started so far; absent before the first. */
  readonly retryCount?: number;
  readonly outcome?: Outcome;
  readonly outcomeReason?: OutcomeReason;
  readonly result?: Json;
  readonly error?: Json;
  /** A legacy field of some resources, of no use to an executor. */
  readonly pool?: string;
}

export interface WorkflowResource {
  readonly resourceType: "AidboxWorkflow";
  readonly id: string;
  readonly definition: string;
  readonly params: Json;
  readonly status: "created" | "in-progress" | "done";
  readonly meta: Meta;
  readonly executeAt?: string;
  readonly label?: string;
  readonly requester?: Reference;
  readonly outcome?: Outcome;
  readonly outcomeReason?: OutcomeReason;
  readonly result?: Json;
  readonly error?: Json;
}

export type Outcome = "succeeded" | "failed" | "canceled";

export interface OutcomeReason {
  readonly type: string;
  readonly message: string;
}

export interface Reference {
  readonly id: string;
  readonly resourceType: "AidboxTask" | "AidboxWorkflow";
}

/** FACT: instants with microseconds in UTC, and the version as a numeric string. */
export interface Meta {
  readonly lastUpdated: string;
  readonly createdAt: string;
  readonly versionId: string;
}

/** FACT: the fields. UNKNOWN: which actions get a record, and what `action` reads; no sample was ever published. */
export interface TaskLogEntry {
  readonly resourceType: "AidboxTaskLog";
  readonly id: string;
  readonly action: string;
  readonly "action-params": Json;
  readonly "status-before": string;
  readonly "status-after": string;
  readonly subject: Reference;
  readonly meta: Meta;
}

/** Makes the `meta` of a new resource, or of the next version of one. */
export type Stamp = (previous?: Meta) => Meta;

export function createStamp(clock: Clock): Stamp {
  let version = 0;
  return (previous) => {
    const lastUpdated = instant(clock.now());
    return { lastUpdated, createdAt: previous?.createdAt ?? lastUpdated, versionId: String(++version) };
  };
}

/** An instant as Aidbox writes it: `2023-05-04T16:33:14.682000Z`. */
export function instant(atMs: number): string {
  return new Date(atMs).toISOString().replace("Z", "000Z");
}

/** Reads `executeAt`, in epoch milliseconds; undefined when it is no date. UNKNOWN: which zone a zone-less one is in. */
export function parseInstant(text: string): number | undefined {
  const form = /^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?$/.exec(text);
  if (form === null) {
    return undefined;
  }
  const atMs = Date.parse(text.includes("T") && form[1] === undefined ? `${text}Z` : text);
  return Number.isNaN(atMs) ? undefined : atMs;
}

/** What a call that is refused answers with, under `error`. FACT: these fields. UNKNOWN: most types and messages. */
export interface RpcError {
  readonly message: string;
  readonly type?: string;
  readonly method?: string;
  readonly errors?: readonly { readonly message: string; readonly type: string }[];
}

/** What an operation came to. */
export type Reply<T> =
  | { readonly value: T; readonly error?: undefined }
  | { readonly value?: undefined; readonly error: RpcError };

export function refuse(type: string, message: string): { error: RpcError } {
  return { error: { type, message } };
}

/** FACT: the message, from another method of the same endpoint. INFERENCE: that these methods use it. */
export function notFound(): { error: RpcError } {
  return { error: { message: "Resource not found" } };
}
