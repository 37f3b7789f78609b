import type { IncomingHttpHeaders } from "node:http2";
import type { DescMethod, DescService } from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type ContextValues,
  createContextValues,
  type HandlerContext,
} from "@connectrpc/connect";

// One for all: nobody reads where it was made, and in a flood of calls that are cancelled
// its stack would cost more than anything else.
const callerLeft = new ConnectError("the caller left", Code.Canceled);

/**
 * The context of a call in the fast lane. What Connect builds for every call is
 * built here when somebody asks for it: most handlers want no headers and most
 * callers set none.
 */
export class LaneContext implements HandlerContext {
  readonly protocolName = "grpc";
  readonly requestMethod = "POST";
  readonly method: DescMethod;
  readonly service: DescService;
  readonly values: ContextValues = createContextValues();
  readonly timeoutMs: () => number | undefined;
  /** Is called when the time for the body is over. */
  onBodyTime: (() => void) | undefined;
  /** Is called when the caller has left or the deadline has passed before the answer. */
  onEnd: (() => void) | undefined;
  readonly #headers: IncomingHttpHeaders;
  readonly #deadlineMs: number | undefined;
  #abort: AbortController | undefined;
  #endedBy: ConnectError | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isReleased = false;
  #requestHeader: Headers | undefined;
  #responseHeader: Headers | undefined;
  #responseTrailer: Headers | undefined;

  /**
   * Without a timeout the call has no deadline. `onBodyTime` is called where the call is
   * still under way after `bodyMs`, by the timer of its deadline: one more would cost
   * each call.
   */
  constructor(
    method: DescMethod,
    headers: IncomingHttpHeaders,
    timeoutMs: number | undefined,
    bodyMs = Number.POSITIVE_INFINITY,
  ) {
    this.method = method;
    this.service = method.parent;
    this.#headers = headers;
    this.#deadlineMs = timeoutMs && performance.now() + timeoutMs;
    this.timeoutMs = () => this.#deadlineMs && this.#deadlineMs - performance.now();
    if (timeoutMs !== undefined) {
      const firstMs = Math.min(timeoutMs, bodyMs);
      this.#timer = setTimeout(() => this.#onTimer(timeoutMs - firstMs), firstMs);
    }
  }

  get url(): string {
    return `http://${this.#headers[":authority"]}${this.#headers[":path"]}`;
  }

  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController();
      if (this.#endedBy !== undefined) {
        this.#abort.abort(this.#endedBy);
      }
    }
    return this.#abort.signal;
  }

  get requestHeader(): Headers {
    this.#requestHeader ??= headersOf(this.#headers);
    return this.#requestHeader;
  }

  get responseHeader(): Headers {
    this.#responseHeader ??= new Headers();
    return this.#responseHeader;
  }

  get responseTrailer(): Headers {
    this.#responseTrailer ??= new Headers();
    return this.#responseTrailer;
  }

  /** Response headers that somebody asked for, to set some. */
  get setHeader(): Headers | undefined {
    return this.#responseHeader;
  }

  /** Response trailers that somebody asked for, to set some. */
  get setTrailer(): Headers | undefined {
    return this.#responseTrailer;
  }

  /** The caller left. Does nothing once the call was answered. */
  leave(): void {
    if (!this.#isReleased) {
      this.#end(callerLeft);
    }
  }

  /** The call was answered. Unlike Connect's, the signal stays as it is. */
  release(): void {
    clearTimeout(this.#timer);
    this.#isReleased = true;
  }

  #onTimer(restMs: number): void {
    if (restMs > 0) {
      this.#timer = setTimeout(() => this.#onTimer(0), restMs);
      this.onBodyTime?.();
    } else {
      this.#end(new ConnectError("the operation timed out", Code.DeadlineExceeded));
    }
  }

  #end(reason: ConnectError): void {
    this.release();
    this.#endedBy = reason;
    this.#abort?.abort(reason);
    this.onEnd?.();
  }
}

/** Reads Node's headers into the web's, without HTTP/2's pseudo headers. */
export function headersOf(nodeHeaders: IncomingHttpHeaders): Headers {
  const headers = new Headers();
  for (const [name, value] of Object.entries(nodeHeaders)) {
    if (value === undefined || name.startsWith(":")) {
      continue;
    }
    for (const item of Array.isArray(value) ? value : [value]) {
      headers.append(name, item);
    }
  }
  return headers;
}
