import { constants } from "node:http2";
import { Code, createContextKey } from "@connectrpc/connect";
import type { CallCode } from "../model/call-observer.ts";
import type { NodeResponse } from "./node-http.ts";

/** How a call through Connect's adapter ended, as it was read from its response. */
export interface CallOutcome {
  code: CallCode;
}

/** Where the outcome of a call is left. Undefined: nobody asks for it. */
export const outcomeKey = createContextKey<CallOutcome | undefined>(undefined, {
  description: "how the call ended",
});

/** How a call ended whose response is closed: as it was read, unless the caller left before. */
export function codeOf(outcome: CallOutcome, response: NodeResponse): CallCode {
  const isSent =
    "stream" in response
      ? response.writableEnded && response.stream.rstCode === constants.NGHTTP2_NO_ERROR
      : response.writableFinished;
  return isSent ? outcome.code : Code.Canceled;
}
