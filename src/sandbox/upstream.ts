import type { HttpAnswer, HttpRequest } from "./http-message.ts";

/**
 * One emulated system, without sockets: what an HTTP server needs of it, and what a simulation drives directly.
 *
 * Throughout this folder FACT marks what was read in a primary source or observed on the real system, INFERENCE what
 * follows from facts but was not seen, UNKNOWN what no public source tells and is invented here.
 */
export interface Upstream {
  /** Longer bodies are answered with `tooLarge` and never seen otherwise. */
  readonly maxBodyBytes: number;
  tooLarge(): HttpAnswer;
  /** Reads a request without acting on it. */
  receive(request: HttpRequest): Reception;
  /** Answers a control call, `/_sandbox/` and what follows; undefined for a path it does not know. */
  control(request: HttpRequest, path: string): HttpAnswer | Promise<HttpAnswer> | undefined;
  /** What it says when it fails by itself. */
  crashed(): HttpAnswer;
  /** Forgets all state and every timer. */
  reset(): void;
}

export interface Reception {
  /** The body as it was understood. */
  readonly parsed?: unknown;
  /** The method inside an RPC envelope. */
  readonly rpcMethod?: string;
  /** The process or task it is about. */
  readonly subject?: string;
  /** Acts on the request: called once, or never when a fault comes first. */
  process(): HttpAnswer | Promise<HttpAnswer>;
}
