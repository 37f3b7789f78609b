import type { Dispatcher } from "undici";
import type { RequestObserver, RequestStatus } from "../model/request-observer.ts";
import { type AbortCalls, createAbortCalls } from "./abort-calls.ts";
import { createDispatcher, type DispatcherOptions } from "./dispatcher.ts";
import { createPlaceQueue } from "./place-queue.ts";
import { rememberLast } from "./remember-last.ts";

export interface HttpClientOptions extends DispatcherOptions {
  /** The largest answer that is read, in bytes. A larger one counts as broken off. */
  maxResponseBytes: number;
  /** Default: nobody observes requests. */
  observer?: RequestObserver | undefined;
  /** Sent with every request: firewalls refuse those that do not say who asks. */
  userAgent: string;
}

export interface HttpPost {
  /** Path and query, beginning with `/`. Sent as it is. */
  path: string;
  /** With names in lower case. `accept` and `user-agent` are there without them. */
  headers: Record<string, string>;
  body: string;
  /** From the call to the last byte of the answer. */
  timeoutMs: number;
  /** Ends the request early. */
  signal?: AbortSignal | undefined;
}

/**
 * What came of one HTTP request.
 *
 * - `answered`: the whole answer is here, whatever its status.
 * - `notSent`: surely nobody took it: no byte of the request left, because DNS,
 *   connect or TLS failed, or time was over while it waited for a connection; or a
 *   proxy refused to pass it on.
 * - `broken`: the request was begun and there is no whole answer: a reset, a
 *   timeout, an answer that is too large or encoded in a way nobody asked for.
 *
 * `cause` names what happened for people and holds no URL.
 */
export type HttpExchange =
  | {
      readonly kind: "answered";
      readonly status: number;
      readonly headers: Readonly<Record<string, string | undefined>>;
      readonly body: string;
    }
  | { readonly kind: "notSent" | "broken"; readonly cause: string };

export interface HttpClient {
  /** Never throws for what the network or the upstream does. */
  post(request: HttpPost): Promise<HttpExchange>;
  /** Ends all connections, at once; requests under way end as `broken`. */
  close(): Promise<void>;
}

/**
 * Creates a client for one origin that keeps connections alive. It follows no
 * redirect, sends no request twice, asks for no content coding, and takes no proxy
 * from the environment.
 */
export function createHttpClient(options: HttpClientOptions): HttpClient {
  const { origin } = options;
  const dispatcher = createDispatcher(options);
  // undici has a queue of its own, but it never forgets a request whose time is
  // over: it makes a connection for it all the same, only to close it again.
  const queue = createPlaceQueue(options.connections);
  const aborts = createAbortCalls();
  const { observer } = options;
  const ownHeaders = { accept: "*/*", "user-agent": options.userAgent };
  // Who sends often gives the same object again.
  const wholeOf = rememberLast((headers: HttpPost["headers"]) => ({ ...ownHeaders, ...headers }));

  // Asked for when a request comes: it may leave in a turn that belongs to another one.
  function headersOf({ headers }: HttpPost): Record<string, string> {
    const whole = wholeOf(headers);
    const trace = observer?.traceHeaders?.();
    return trace === undefined ? whole : { ...whole, ...trace };
  }

  return {
    async post(request) {
      if (request.signal?.aborted === true) {
        return { kind: "notSent", cause: endedByCaller };
      }
      const beganMs = performance.now();
      const headers = headersOf(request);
      return new Promise((resolve) => {
        let stopWaiting: (() => void) | undefined;
        const exchange = createExchange(request, options.maxResponseBytes, aborts, {
          onSettled(result) {
            stopWaiting?.();
            observer?.ended(statusOf(result), performance.now() - beganMs);
            resolve(result);
          },
          onFinished: queue.leave,
        });
        stopWaiting = queue.wait(() => {
          const { path, body } = request;
          dispatcher.dispatch({ origin, path, method: "POST", headers, body }, exchange);
        });
      });
    },
    close: () => dispatcher.destroy(),
  };
}

function statusOf(exchange: HttpExchange): RequestStatus {
  if (exchange.kind === "answered") {
    return exchange.status;
  }
  return exchange.kind === "broken" ? "broken" : "not_sent";
}

// Without a byte order mark, if there is one.
const utf8 = new TextDecoder();
const endedByCaller = "the call was ended by its caller";

interface ExchangeEvents {
  /** What came of the request is known. */
  onSettled(exchange: HttpExchange): void;
  /** undici has done with the request, maybe later: the next one may have its connection. Once. */
  onFinished(): void;
}

// One request as undici sees it. undici tells when it begins to write the request
// (`onRequestStart`): what fails before was surely not sent.
function createExchange(
  request: HttpPost,
  maxResponseBytes: number,
  aborts: AbortCalls,
  { onSettled, onFinished }: ExchangeEvents,
): Dispatcher.DispatchHandler {
  let controller: Dispatcher.DispatchController | undefined;
  let settled = false;
  let finished = false;
  let status = 0;
  let headers: Record<string, string | undefined> = {};
  let size = 0;
  const chunks: Buffer[] = [];

  function settle(exchange: HttpExchange): void {
    if (settled) {
      return;
    }
    settled = true;
    clearTimeout(timer);
    if (request.signal !== undefined) {
      aborts.remove(request.signal, onAbort);
    }
    onSettled(exchange);
  }
  function fail(cause: string): void {
    settle({ kind: controller === undefined ? "notSent" : "broken", cause });
    // A request whose connection is still being made is ended when it is there.
    controller?.abort(new Error(cause));
  }
  // An answer may still end after undici has told of its error.
  function finish(): void {
    if (!finished) {
      finished = true;
      onFinished();
    }
  }
  function onAbort(): void {
    fail(endedByCaller);
  }

  const timer = setTimeout(fail, request.timeoutMs, `no answer within ${request.timeoutMs} ms`);
  if (request.signal !== undefined) {
    aborts.add(request.signal, onAbort);
  }

  return {
    onRequestStart(started) {
      if (settled) {
        started.abort(new Error("ended before it was sent"));
        return;
      }
      controller = started;
    },
    onResponseStart(_, statusCode, responseHeaders) {
      if (statusCode < 200) {
        return;
      }
      status = statusCode;
      headers = firstValues(responseHeaders);
      const coding = headers["content-encoding"] ?? "";
      if (coding !== "" && coding.toLowerCase() !== "identity") {
        fail("the answer has a content-encoding, which was not asked for");
      }
    },
    onResponseData(_, chunk) {
      size += chunk.length;
      if (size > maxResponseBytes) {
        fail(`the answer is larger than ${maxResponseBytes} bytes`);
        return;
      }
      chunks.push(chunk);
    },
    onResponseEnd() {
      settle({ kind: "answered", status, headers, body: size === 0 ? "" : utf8.decode(joined(chunks)) });
      finish();
    },
    onResponseError(_, error) {
      if (isProxyRefusal(error)) {
        settle({ kind: "notSent", cause: error.message });
      }
      fail(causeOf(error));
      finish();
    },
  };
}

// What undici makes of a 407 to a request without TLS. Nothing else is such an error once a
// request was begun.
function isProxyRefusal(error: NodeJS.ErrnoException): boolean {
  return error.code === "UND_ERR_INVALID_ARG" && error.message.includes("407");
}

function joined(chunks: readonly Buffer[]): Buffer {
  const [first] = chunks;
  return chunks.length === 1 && first ? first : Buffer.concat(chunks);
}

function firstValues(
  headers: Record<string, string | string[] | undefined>,
): Record<string, string | undefined> {
  if (!Object.values(headers).some(Array.isArray)) {
    return headers as Record<string, string | undefined>;
  }
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, Array.isArray(value) ? value[0] : value]),
  );
}

// Messages of sockets and resolvers name hosts and ports, never a path or a key.
function causeOf(error: NodeJS.ErrnoException & { library?: string; reason?: string }): string {
  // OpenSSL's message is a line of addresses and source files around its reason. A
  // host with several addresses has an error for each of them and no message.
  const message = (error.library === undefined ? error.message : error.reason) || "no connection";
  return error.code === undefined || message.includes(error.code) ? message : `${message} (${error.code})`;
}
