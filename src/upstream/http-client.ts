import { type Dispatcher, Pool } from "undici";
import { type AbortCalls, createAbortCalls } from "./abort-calls.ts";
import { createPlaceQueue } from "./place-queue.ts";

export interface HttpClientOptions {
  /** Scheme, host and port of the upstream, for example `https://webhook.getorchestra.io`. */
  origin: string;
  /** How many connections may be open at once, each with one request at a time. */
  connections: number;
  /** The largest answer that is read, in bytes. A larger one counts as broken off. */
  maxResponseBytes: number;
  /** How long a connection may take to be made, TLS included. */
  connectTimeoutMs: number;
}

export interface HttpPost {
  /** Path and query, beginning with `/`. Sent as it is. */
  path: string;
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
 * - `notSent`: surely no byte of the request left, so nobody took it: DNS, connect
 *   or TLS failed, or time was over while it waited for a connection.
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
 * redirect, sends no request twice, and asks for no content coding.
 */
export function createHttpClient(options: HttpClientOptions): HttpClient {
  const pool = new Pool(options.origin, {
    connections: options.connections,
    pipelining: 1,
    // Each request has one deadline for all of it; these two would only end it
    // some time later or, with a body that drips, never.
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: { timeout: options.connectTimeoutMs, allowH2: false },
    allowH2: false,
  });
  // undici has a queue of its own, but it never forgets a request whose time is
  // over: it makes a connection for it all the same, only to close it again.
  const queue = createPlaceQueue(options.connections);
  const aborts = createAbortCalls();
  return {
    async post(request) {
      if (request.signal?.aborted === true) {
        return { kind: "notSent", cause: endedByCaller };
      }
      return new Promise((resolve) => {
        let stopWaiting: (() => void) | undefined;
        const exchange = createExchange(request, options.maxResponseBytes, aborts, {
          onSettled(result) {
            stopWaiting?.();
            resolve(result);
          },
          onFinished: queue.leave,
        });
        stopWaiting = queue.wait(() => {
          pool.dispatch(
            { path: request.path, method: "POST", headers: request.headers, body: request.body },
            exchange,
          );
        });
      });
    },
    close: () => pool.destroy(),
  };
}

// Without a byte order mark, if there is one.
const utf8 = new TextDecoder();
const endedByCaller = "the call was ended by its caller";

interface ExchangeEvents {
  /** What came of the request is known. */
  onSettled(exchange: HttpExchange): void;
  /** undici has done with the request, maybe later: the next one may have its connection. */
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
      onFinished();
    },
    onResponseError(_, error) {
      fail(causeOf(error));
      onFinished();
    },
  };
}

function joined(chunks: readonly Buffer[]): Buffer {
  const [first] = chunks;
  return chunks.length === 1 && first ? first : Buffer.concat(chunks);
}

function firstValues(
  headers: Record<string, string | string[] | undefined>,
): Record<string, string | undefined> {
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
