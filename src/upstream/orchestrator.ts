import { hash } from "node:crypto";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import type { AttemptFailure, AttemptResult } from "../model/attempt-result.ts";
import { type CallbackTarget, callbackKey, parseCallbackUrl } from "../model/callback-target.ts";
import type { UpstreamCapabilities } from "../model/capabilities.ts";
import type { Credential } from "../model/credential.ts";
import type { DeliveryUpstream, NewDelivery } from "../model/delivery.ts";
import { createFailure, failureWithReason } from "../model/failure.ts";
import type { LeasedTask, LeaseRecord } from "../model/lease.ts";
import type { HttpClient } from "./http-client.ts";
import {
  contentTypeWords,
  excerpt,
  failedAnswer,
  failedExchange,
  type HttpAnswer,
  meaningOfStatus,
} from "./http-failure.ts";
import { withCredential } from "./with-credential.ts";

/** What the Workflow Orchestrator can do. */
export const orchestratorCapabilities: UpstreamCapabilities = {
  pull: false,
  // From a progress that is refused behind one that was accepted.
  cancelDetection: true,
  handBack: false,
  progress: true,
};

/** One Orchestrator: its base URL, the connections to its origin, its credential. */
export interface OrchestratorBase {
  http: HttpClient;
  /** Path of the base URL, without a trailing slash; often empty. */
  basePath: string;
  /** A bearer token. Undefined: none is sent. */
  token: Credential<string | undefined>;
}

export interface OrchestratorOptions {
  /** By base URL, without a trailing slash. */
  bases: ReadonlyMap<string, OrchestratorBase>;
  /**
   * How long one request may take. The POST may block until the workflow's next
   * stop (FACT: orchestrator-core with its default setting TESTING), and a short
   * time makes attempts in doubt.
   */
  timeoutMs: number;
  /** The wall clock, for `Retry-After`. */
  now: () => number;
}

/**
 * The Workflow Orchestrator, as the gateway calls it. Two requests for one
 * callback must not overlap: it would take both (MEASURED with orchestrator-core
 * 5.3.0).
 */
export interface Orchestrator extends DeliveryUpstream {
  /** Sends a progress: a JSON object or string as text. */
  progress(target: CallbackTarget, body: string, signal?: AbortSignal): Promise<AttemptResult>;
}

/** The task that a callback is: what order and leases are per. */
export function callbackTask(target: CallbackTarget): LeasedTask {
  return {
    upstream: "orchestrator",
    lane: `orchestrator ${target.base}`,
    key: callbackKey(target),
    taskId: target.processId,
    attempt: "",
  };
}

/** What is kept of a callback for the case that its worker is lost: a JSON object as text is sent then. */
export function callbackLease(target: CallbackTarget, body: string) {
  const lostPayload = JSON.stringify({ target: target.base + target.route, body });
  return { task: callbackTask(target), lostPayload };
}

/** Says how the Orchestrator is told that a callback's worker is lost. */
export function prepareLostCallback({ task, lostPayload }: LeaseRecord): NewDelivery {
  const { target, body } = JSON.parse(lostPayload) as { target: string; body: string };
  return { ...task, kind: "outcome", outcomeTag: tagOf(body), target, body };
}

/**
 * Says whether a refused progress means that nobody waits for the result any more:
 * one was accepted before, and now the process is gone or does not await.
 */
export function isOver({ kind, failure }: AttemptFailure): boolean {
  return kind === "tooEarly" || (kind === "rejected" && failure.metadata.http_status === "404");
}

/** Says how a result, a JSON object as text, leaves for the Orchestrator. */
export function prepareCallback(target: CallbackTarget, body: string): NewDelivery {
  return {
    ...callbackTask(target),
    kind: "outcome",
    outcomeTag: tagOf(body),
    target: target.base + target.route,
    body,
  };
}

function tagOf(body: string): string {
  return hash("sha256", body, "base64");
}

/** Creates the way to the configured Orchestrators. */
export function createOrchestrator(options: OrchestratorOptions): Orchestrator {
  const baseUrls = [...options.bases.keys()];

  async function post(
    target: CallbackTarget,
    suffix: string,
    body: string,
    signal: AbortSignal | undefined,
  ): Promise<AttemptResult> {
    const base = options.bases.get(target.base);
    if (base === undefined) {
      throw new Error("a callback target's base must be a configured one");
    }
    return withCredential(base.token, async (token) => {
      const exchange = await base.http.post({
        path: `${base.basePath}${target.route}${suffix}`,
        headers: {
          // Without it a JSON body is refused (FACT: FastAPI's strict_content_type).
          "content-type": "application/json",
          accept: "application/json",
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        },
        body,
        timeoutMs: options.timeoutMs,
        signal,
      });
      return exchange.kind === "answered"
        ? resultOfAnswer(exchange, [target.token, token ?? ""], options.now())
        : failedExchange(exchange, "orchestrator");
    });
  }

  return {
    async send(delivery, signal) {
      const parsed = parseCallbackUrl(delivery.target, baseUrls);
      if (!("target" in parsed)) {
        return notConfigured();
      }
      const result = await post(parsed.target, "", delivery.body, signal);
      return result.kind === "accepted" ? result : judgeFailure(result, delivery.isInDoubt);
    },
    progress: (target, body, signal) => post(target, "/progress", body, signal),
  };
}

// These refuse the payload, and the process still waits (MEASURED).
const openStatuses = ["400", "413", "422"];

function judgeFailure(result: AttemptFailure, isInDoubt: boolean): AttemptFailure {
  const { http_status: status = "", upstream_message: said } = result.failure.metadata;
  // What a process answers that has taken the attempt before.
  if (isInDoubt && (status === "409" || (status === "404" && said === "Invalid token"))) {
    const failure = failureWithReason(result.failure, ErrorReason.UPSTREAM_UNCERTAIN);
    return { kind: "unconfirmed", failure };
  }
  return result.kind === "rejected" && openStatuses.includes(status)
    ? { ...result, isTaskOpen: true }
    : result;
}

// The configuration has changed since the delivery was accepted.
function notConfigured(): AttemptFailure {
  return {
    kind: "unavailable",
    failure: createFailure(
      ErrorReason.UPSTREAM_NOT_CONFIGURED,
      "the gateway is no longer configured with the base URL of this callback",
      { metadata: { upstream: "orchestrator" } },
    ),
  };
}

function resultOfAnswer(answer: HttpAnswer, secrets: readonly string[], nowMs: number): AttemptResult {
  const detail = excerpt(parseDetail(answer.body), secrets);
  const words = { upstream: "orchestrator", said: detail };
  const meaning = meaningOfStatus(answer.status);
  if (meaning === "accepted") {
    return isJson(answer)
      ? { kind: "accepted", answer: "" }
      : failedAnswer("rejected", answer, { ...words, said: notTheOrchestrator(answer, secrets) }, nowMs);
  }
  // The process does not await a callback: its action step has not returned yet,
  // or somebody was there before. The body is the same (MEASURED).
  if (answer.status === 409) {
    return failedAnswer("tooEarly", answer, words, nowMs);
  }
  if (answer.status >= 300 && answer.status < 400) {
    const said = "a redirect, which is not followed: the base URL is wrong";
    return failedAnswer("rejected", answer, { ...words, said }, nowMs);
  }
  // FACT: FastAPI answers this where core itself would name the process or the token.
  if ((answer.status === 404 && detail === "Not Found") || answer.status === 405) {
    const said = `${detail || "no such path"}: the base URL is wrong`;
    return failedAnswer("rejected", answer, { ...words, said }, nowMs);
  }
  return failedAnswer(meaning, answer, words, nowMs);
}

// The Orchestrator's 200 is the JSON `null`. A page of HTML with status 200 comes
// from something else that answers every path.
function isJson(answer: HttpAnswer): boolean {
  return answer.body === "" || /^application\/json\b/i.test(answer.headers["content-type"] ?? "");
}

function notTheOrchestrator(answer: HttpAnswer, secrets: readonly string[]): string {
  return `${contentTypeWords(answer, secrets)} instead of JSON, so it is no Orchestrator: the base URL is wrong`;
}

// Core answers `{"detail": "..."}`; the framework's validation answers a list of
// problems with a `msg` each (MEASURED).
function parseDetail(body: string): string {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body);
  } catch {
    return "";
  }
  const detail = typeof parsed === "object" && parsed !== null && "detail" in parsed ? parsed.detail : "";
  if (typeof detail === "string") {
    return detail;
  }
  if (!Array.isArray(detail)) {
    return "";
  }
  return detail
    .map((item: unknown) => (typeof item === "object" && item !== null && "msg" in item ? item.msg : ""))
    .filter((message) => typeof message === "string" && message !== "")
    .join("; ");
}
