/** How a request to an upstream ended: its HTTP status, or what happened instead of an answer. */
export type RequestStatus = number | "not_sent" | "broken";

/** Sees a request to an upstream on its way. */
export interface RequestObserver {
  /** Headers that say which trace the request belongs to; undefined: none. */
  traceHeaders: (() => Readonly<Record<string, string>> | undefined) | undefined;
  /** A request has ended. */
  ended(status: RequestStatus, elapsedMs: number): void;
}

/**
 * What requests are for. Those that wait at the upstream until there is something take
 * long by nature: a caller's long-poll, and the one for all workers on streams.
 */
export type RequestKind = "call" | "long_poll" | "work_poll";
