import { Code } from "@connectrpc/connect";
import { backoffMs, type CallFailure, readCallFailure } from "./call-errors.ts";
import type { Clock } from "./clock.ts";
import type { Contact } from "./contact.ts";
import type { Report, ReportAnswer, TargetCall } from "./report-target.ts";

/** What became of a report. */
export type ReportResult =
  | { readonly kind: "sent"; readonly answer: ReportAnswer }
  | { readonly kind: "refused"; readonly failure: CallFailure }
  /** Undefined: it was never tried. */
  | { readonly kind: "gaveUp"; readonly failure: CallFailure | undefined }
  /** A newer message took its place, or nobody waits for it any more. */
  | { readonly kind: "dropped" };

/** Sends reports one after the other, each until the gateway takes or refuses it. */
export interface ReportQueue {
  add: (report: Report) => Promise<ReportResult>;
  /**
   * The command is over: what waits is tried at once, and what the gateway has not
   * taken in this time, though it was reached, makes room for the outcome. `timeoutMs`:
   * when it will be given up; the gateway is to answer before.
   */
  hurry: (patienceMs: number, timeoutMs: number) => void;
  /** Gives up whatever is not sent. */
  giveUp: () => void;
}

export interface ReportQueueDeps {
  clock: Clock;
  /** From 0 to 1. */
  random: () => number;
  contact: Contact;
  sessionId: () => string;
  /** Nobody waits for reports any more. */
  isPointless: () => boolean;
}

interface Entry {
  report: Report;
  settle: (result: ReportResult) => void;
}

/** How long the gateway may take for one call. */
export const callTimeoutMs = 20_000;

const endsSession: readonly (string | undefined)[] = ["SESSION_UNKNOWN", "LEASE_EXPIRED"];

const minCallTimeoutMs = 1000;

/** Creates a queue. Of messages that wait, it keeps the last one only. */
export function createReportQueue(deps: ReportQueueDeps): ReportQueue {
  const { clock, random, contact } = deps;
  const waiting: Entry[] = [];
  const over = new AbortController();
  let wake = new AbortController();
  let patienceEndMs = Number.POSITIVE_INFINITY;
  let endMs = Number.POSITIVE_INFINITY;
  let isSending = false;

  async function sendAll(): Promise<void> {
    if (isSending) {
      return;
    }
    isSending = true;
    for (let entry = waiting.shift(); entry !== undefined; entry = waiting.shift()) {
      entry.settle(await send(entry.report));
    }
    isSending = false;
  }

  async function send(report: Report): Promise<ReportResult> {
    let failure: CallFailure | undefined;
    let answer: ReportAnswer | undefined;
    let attempt = 0;
    let hasSession = true;
    let wasHurried = isHurried();
    for (;;) {
      // An outcome that was sent may be what has made it so: what became of it is asked for.
      if (deps.isPointless() && (report.kind !== "outcome" || attempt === 0)) {
        return { kind: "dropped" };
      }
      if (over.signal.aborted) {
        return answer === undefined ? { kind: "gaveUp", failure } : { kind: "sent", answer };
      }
      attempt += 1;
      const sessionId = hasSession ? deps.sessionId() : "";
      try {
        answer = await report.send(callOf(report, sessionId));
        failure = undefined;
        contact.answered();
        if (answer.isPending !== true) {
          return { kind: "sent", answer };
        }
      } catch (error) {
        if (over.signal.aborted) {
          continue;
        }
        failure = readCallFailure(error);
        contact.failed(failure);
        if (sessionId !== "" && endsSession.includes(failure.reason)) {
          // It is the report that counts, and not who holds the lease.
          hasSession = false;
          continue;
        }
        if (!failure.canRetry) {
          return { kind: "refused", failure };
        }
        // An outage ends for all reports at the same time; this one may be put off for ever.
        const isOutage = failure.reason === undefined && failure.code === Code.Unavailable;
        if (report.kind !== "outcome" && !isOutage && clock.nowMs() >= patienceEndMs) {
          return { kind: "gaveUp", failure };
        }
      }
      if (report.kind === "message" && waiting[0]?.report.kind === "message") {
        return { kind: "dropped" };
      }
      if (isHurried() && !wasHurried) {
        wasHurried = true;
        attempt = 1;
      }
      const delayMs = Math.max(failure?.retryDelayMs ?? 0, backoffMs(attempt, random));
      await clock.sleep(delayMs, AbortSignal.any([over.signal, wake.signal]));
    }
  }

  function isHurried(): boolean {
    return patienceEndMs !== Number.POSITIVE_INFINITY;
  }

  function callOf(report: Report, sessionId: string): TargetCall {
    const patienceMs = (report.kind === "outcome" ? endMs : patienceEndMs) - clock.nowMs();
    const timeoutMs = Math.max(minCallTimeoutMs, Math.min(callTimeoutMs, Math.round(patienceMs)));
    return { sessionId, timeoutMs, signal: over.signal };
  }

  return {
    add(report) {
      const last = waiting.at(-1);
      if (report.kind === "message" && last?.report.kind === "message") {
        waiting.pop();
        last.settle({ kind: "dropped" });
      }
      return new Promise((resolve) => {
        waiting.push({ report, settle: resolve });
        void sendAll();
      });
    },
    hurry(patienceMs, timeoutMs) {
      patienceEndMs = clock.nowMs() + patienceMs;
      endMs = clock.nowMs() + timeoutMs;
      wake.abort();
      wake = new AbortController();
    },
    giveUp: () => over.abort(),
  };
}
