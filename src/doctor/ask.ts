import type { Dispatcher } from "undici";
import { request } from "undici";
import { messageOf } from "../model/error-message.ts";
import type { RequestDispatcher } from "../upstream/dispatcher.ts";
import type { Reach } from "./check-origin.ts";
import type { Finding } from "./finding.ts";

/** A request that changes nothing where it goes. */
export interface Question {
  method: "GET" | "HEAD" | "POST";
  path: string;
  headers?: Record<string, string>;
  body?: string;
}

/** What was answered. */
export interface Answer {
  status: number;
  body: string;
}

/** What was seen on the way, and the answer; undefined: there is none. */
export interface Asked {
  findings: Finding[];
  answer: Answer | undefined;
}

const maxBodyBytes = 64 * 1024;
const maxSkewMs = 30_000;

/** Asks an upstream one question, and compares its clock with this one. */
export async function ask(reach: Reach, question: Question, dispatcher: RequestDispatcher): Promise<Asked> {
  const { upstream, origin, timeoutMs, now } = reach;
  const startMs = performance.now();
  const sentMs = now();
  try {
    const { statusCode, headers, body } = await request(origin + question.path, {
      // It asks no more of one than to dispatch.
      dispatcher: dispatcher as Dispatcher,
      method: question.method,
      headers: question.headers ?? {},
      body: question.body ?? null,
      signal: AbortSignal.timeout(timeoutMs),
    });
    const gotMs = now();
    const text = await readSome(body);
    const tookMs = (performance.now() - startMs).toFixed(0);
    const reached: Finding = {
      kind: "ok",
      subject: `${upstream} reachable`,
      words: `${origin} answered ${statusCode} in ${tookMs} ms`,
    };
    const date = Array.isArray(headers.date) ? headers.date[0] : headers.date;
    return {
      findings: [reached, judgeClock(upstream, date, sentMs, gotMs)],
      answer: { status: statusCode, body: text },
    };
  } catch (error) {
    const cause =
      error instanceof Error && error.name === "TimeoutError"
        ? `no answer within ${timeoutMs} ms`
        : messageOf(error);
    const problem: Finding = {
      kind: "problem",
      subject: `${upstream} reachable`,
      words: `${origin} did not answer: ${cause || "no connection"}`,
      advice: "check the URL, and that a firewall, proxy or NetworkPolicy lets this machine or pod connect",
    };
    return { findings: [problem], answer: undefined };
  }
}

/** Compares the time that an answer tells with when the question was sent and answered. */
export function judgeClock(
  upstream: string,
  date: string | undefined,
  sentMs: number,
  gotMs: number,
): Finding {
  const subject = `${upstream} clock`;
  const theirMs = Date.parse(date ?? "");
  if (Number.isNaN(theirMs)) {
    return { kind: "unknown", subject, words: "its answer tells no time" };
  }
  // It tells whole seconds.
  const skewMs = theirMs > gotMs ? theirMs - gotMs : Math.max(0, sentMs - theirMs - 1000);
  const words = `differs by ${(skewMs / 1000).toFixed(0)} s`;
  return skewMs <= maxSkewMs
    ? { kind: "ok", subject, words }
    : {
        kind: "warning",
        subject,
        words: `${words}: times in logs and receipts will not fit together, and certificates may seem to have ended`,
        advice: "let NTP set this machine's clock; if it does, the upstream's is wrong",
      };
}

async function readSome(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > maxBodyBytes) {
      break;
    }
  }
  return Buffer.concat(chunks).toString("utf8");
}
