import type { AttemptResult } from "../model/attempt-result.ts";
import type { UpstreamCapabilities } from "../model/capabilities.ts";
import type { Credential } from "../model/credential.ts";
import type { DeliveryUpstream, NewDelivery } from "../model/delivery.ts";
import type { LeasedTask, LeaseRecord } from "../model/lease.ts";
import { isRunOutcome, type RunKey, type RunReport, runKeyText } from "../model/run-report.ts";
import type { HttpClient } from "./http-client.ts";
import { excerpt, failedAnswer, failedExchange, type HttpAnswer, meaningOfStatus } from "./http-failure.ts";
import { rememberLast } from "./remember-last.ts";
import { withCredential } from "./with-credential.ts";

/** FACT: nothing in Orchestra's SDK ever receives anything. */
export const orchestraCapabilities: UpstreamCapabilities = {
  pull: false,
  cancelDetection: false,
  handBack: false,
  progress: true,
};

export interface OrchestraOptions {
  http: HttpClient;
  /** Path and query of the webhook; nothing is appended to it (FACT). */
  webhookPath: string;
  /** The workspace's API key. */
  apiKey: Credential;
  /** How long one request may take. Orchestra publishes no figure. */
  timeoutMs: number;
  /** The wall clock, for `Retry-After`. */
  now: () => number;
}

/**
 * Says how a report leaves for Orchestra. All reports of one attempt of a run have
 * one key. A message without a status goes with the last one reported, because newer
 * versions of Orchestra's SDK no longer send a message alone: that is RUNNING, since
 * every other status ends the run.
 */
export function prepareRunReport(report: RunReport): NewDelivery {
  const status = report.kind === "status" ? (report.status ?? "RUNNING") : undefined;
  const isOutcome = status !== undefined && isRunOutcome(status);
  return {
    ...runTask(report.run),
    kind: isOutcome ? "outcome" : report.kind,
    outcomeTag: isOutcome ? status : "",
    target: "",
    body: orchestraEvent(report),
  };
}

/** The run as a task that is leased. */
export function runTask(run: RunKey): LeasedTask {
  return {
    upstream: "orchestra",
    lane: "orchestra",
    key: runKeyText(run),
    taskId: run.taskRunId,
    attempt: String(run.attempt),
  };
}

/** Says how Orchestra is told that a run's worker is lost. */
export function prepareLostRun({ task }: LeaseRecord, why: string): NewDelivery {
  const run = { taskRunId: task.taskId, attempt: Number(task.attempt) };
  return prepareRunReport({ run, kind: "status", status: "FAILED", message: why });
}

/**
 * Writes a report as the event that Orchestra's webhook takes (FACT: Orchestra's
 * own SDK, generation 0.1 to 0.2: no `timestamp`, an empty `metadata`).
 */
export function orchestraEvent(report: RunReport): string {
  const run = report.run.taskRunId;
  switch (report.kind) {
    case "status":
      return `{"event_type":"UPDATE_STATUS","metadata":{},"task_run_id":"${run}","status":"${report.status ?? "RUNNING"}"${report.message === undefined ? "" : `,"message":${JSON.stringify(report.message)}`}}`;
    case "output":
      return `{"event_type":"SET_OUTPUT","metadata":{},"task_run_id":"${run}","output_name":${JSON.stringify(report.name)},"output_value":${report.valueJson}}`;
    case "log":
      return `{"event_type":"LOG","metadata":{},"task_run_id":"${run}","log_name":${JSON.stringify(report.name)},"data":${JSON.stringify(report.data)}}`;
    default:
      return report satisfies never;
  }
}

/** Creates the way to Orchestra's webhook. */
export function createOrchestra(options: OrchestraOptions): DeliveryUpstream {
  const pathSecrets = secretsOf(options.webhookPath);
  const credentialOf = rememberLast((apiKey: string) => ({
    headers: { authorization: `Bearer ${apiKey}`, "content-type": "application/json" },
    secrets: [apiKey, ...pathSecrets].filter(isSecret),
  }));
  return {
    send: ({ body }, signal) =>
      withCredential(options.apiKey, async (apiKey) => {
        const { headers, secrets } = credentialOf(apiKey);
        const exchange = await options.http.post({
          path: options.webhookPath,
          headers,
          body,
          timeoutMs: options.timeoutMs,
          signal,
        });
        return exchange.kind === "answered"
          ? resultOfAnswer(exchange, secrets, options.now())
          : failedExchange(exchange, "orchestra");
      }),
  };
}

// Any 2xx is success, whatever its body (FACT: the SDK), but for a body that says
// `success: false` (FACT: the published answers of SET_OUTPUT, without a status).
function resultOfAnswer(answer: HttpAnswer, secrets: readonly string[], nowMs: number): AttemptResult {
  const body = parseBody(answer.body);
  const meaning = meaningOfStatus(answer.status);
  if (meaning === "accepted" && body.success !== false) {
    return { kind: "accepted", answer: "" };
  }
  const isRedirect = answer.status >= 300 && answer.status < 400;
  return failedAnswer(
    meaning === "accepted" ? "rejected" : meaning,
    answer,
    {
      upstream: "orchestra",
      said: isRedirect
        ? "a redirect, which is not followed: the webhook URL is wrong"
        : words(body.error, secrets),
      type: words(body.code, secrets),
    },
    nowMs,
  );
}

function parseBody(body: string): { success?: unknown; error?: unknown; code?: unknown } {
  if (body === "") {
    return {};
  }
  try {
    const parsed: unknown = JSON.parse(body);
    return typeof parsed === "object" && parsed !== null ? parsed : {};
  } catch {
    return {};
  }
}

// A webhook's path and query may be a capability of their own.
function secretsOf(webhookPath: string): string[] {
  return [...webhookPath.split(/[/?&=]/).filter((part) => part.length >= 6), webhookPath];
}

// One letter is none, and would be found everywhere.
function isSecret(text: string): boolean {
  return text.length > 1;
}

function words(value: unknown, secrets: readonly string[]): string | undefined {
  return typeof value === "string" ? excerpt(value, secrets) : undefined;
}
