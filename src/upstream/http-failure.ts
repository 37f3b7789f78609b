import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import type { AttemptFailure } from "../model/attempt-result.ts";
import { createFailure } from "../model/failure.ts";
import type { HttpExchange } from "./http-client.ts";
import { parseRetryAfter } from "./retry-after.ts";

/** An answer of the upstream, whatever its status. */
export type HttpAnswer = Extract<HttpExchange, { kind: "answered" }>;

/** What an HTTP status says of a request that changes something. */
export type StatusMeaning = "accepted" | "rejected" | "unauthorized" | "unavailable" | "inDoubt";

/**
 * Says what a status means where an upstream has no rule of its own.
 *
 * 408, 425, 429 and 503 say that the request was not taken. Any other 5xx may
 * come after it was. A redirect is never followed: 301 would turn the POST into a
 * GET, whose 200 looks like success.
 */
export function meaningOfStatus(status: number): StatusMeaning {
  if (status >= 200 && status < 300) {
    return "accepted";
  }
  if (status === 401 || status === 403) {
    return "unauthorized";
  }
  if (status === 408 || status === 425 || status === 429 || status === 503) {
    return "unavailable";
  }
  return status >= 500 ? "inDoubt" : "rejected";
}

const reasons = {
  rejected: ErrorReason.UPSTREAM_REJECTED,
  tooEarly: ErrorReason.UPSTREAM_UNAVAILABLE,
  unauthorized: ErrorReason.UPSTREAM_AUTH,
  unavailable: ErrorReason.UPSTREAM_UNAVAILABLE,
  inDoubt: ErrorReason.UPSTREAM_UNCERTAIN,
} as const;

/** Says how an upstream names itself, and what it said. */
export interface UpstreamWords {
  /** `orchestra`, `orchestrator` or `aidbox`. */
  upstream: string;
  /** What the upstream said of the failure, for people: an `excerpt`. Empty: nothing. */
  said?: string | undefined;
  /** The upstream's own word for the kind of failure: an `excerpt`. Empty: none. */
  type?: string | undefined;
}

/** Turns an answer that is no success into a result of the given kind. */
export function failedAnswer(
  kind: keyof typeof reasons,
  answer: HttpAnswer,
  words: UpstreamWords,
  nowMs: number,
): AttemptFailure {
  const { upstream } = words;
  const said = words.said || undefined;
  const type = words.type || undefined;
  // A refusal stays one, whatever the upstream says of a wait: clients would repeat it.
  const isFinal = kind === "rejected" || kind === "unauthorized";
  const retryAfterMs = isFinal ? undefined : parseRetryAfter(answer.headers["retry-after"], nowMs);
  return {
    kind,
    failure: createFailure(
      reasons[kind],
      said === undefined
        ? `${upstream} answered ${answer.status}`
        : `${upstream} answered ${answer.status}: ${said}`,
      {
        metadata: {
          upstream,
          http_status: String(answer.status),
          ...(type === undefined ? {} : { upstream_type: type }),
          ...(said === undefined ? {} : { upstream_message: said }),
        },
        ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
      },
    ),
  };
}

/** Turns an exchange without an answer into a result: not sent, or in doubt. */
export function failedExchange(
  exchange: Exclude<HttpExchange, HttpAnswer>,
  upstream: string,
): AttemptFailure {
  const kind = exchange.kind === "notSent" ? "unavailable" : "inDoubt";
  const message =
    kind === "unavailable"
      ? `${upstream} was not reached: ${exchange.cause}`
      : `${upstream} may have taken the request: ${exchange.cause}`;
  return { kind, failure: createFailure(reasons[kind], message, { metadata: { upstream } }) };
}

/** Names an answer's content type for people, without the given secrets. */
export function contentTypeWords(answer: HttpAnswer, secrets: readonly string[]): string {
  return excerpt(answer.headers["content-type"] ?? "", secrets) || "no content-type";
}

// A secret as it is, and as JSON and a URL write it.
function formsOf(secret: string): string[] {
  return [...new Set([secret, JSON.stringify(secret).slice(1, -1), encodeURIComponent(secret)])];
}

/**
 * Cuts what an upstream said to a length for people, in one line and without the
 * given secrets.
 */
export function excerpt(text: string, secrets: readonly string[]): string {
  let clean = text;
  // One secret may hold another, which must not break it before it is found.
  const forms = secrets.filter((secret) => secret !== "").flatMap(formsOf);
  for (const form of forms.toSorted((a, b) => b.length - a.length)) {
    clean = clean.replaceAll(form, "[redacted]");
  }
  const line = clean.replace(/[\p{C}\s]+/gu, " ").trim();
  // Half a character would be no text: an error that holds it cannot be sent.
  return line.length > 300 ? `${line.slice(0, 297).replace(/\p{Cs}$/u, "")}...` : line;
}
