import type { Code } from "@connectrpc/connect";

/** How a call ended: 0 is OK, as in gRPC. */
export type CallCode = Code | 0;

/** Headers of a request, as Node gives them. */
export type CallHeaders = Readonly<Record<string, string | readonly string[] | undefined>>;

/**
 * Hears of every call that is served, whatever protocol it came in. It is on the way
 * of each of them: what it does must be cheap, and must not throw.
 */
export interface CallObserver {
  /** A call of a method that is served has come, for example of `/taskgate.v1.GatewayService/GetInfo`. */
  begin(path: string, headers: CallHeaders): ObservedCall;
  /** Something was called that nobody serves. */
  unknown(): void;
}

/** One call, as it is observed. */
export interface ObservedCall {
  /** Runs the call's handler: what that does belongs to the call. */
  run<Result>(handler: () => Result): Result;
  /** The call is over. Only the first word on it counts. */
  end(code: CallCode): void;
}
