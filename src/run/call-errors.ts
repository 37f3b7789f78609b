import { durationMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";

/** Why a call to the gateway failed. */
export interface CallFailure {
  code: Code;
  /** The gateway's word for it; undefined: it was not the gateway who answered. */
  reason: string | undefined;
  /** For people. */
  message: string;
  /** The same call may do better later. */
  canRetry: boolean;
  /** How long the gateway asks to wait; 0: it does not say. */
  retryDelayMs: number;
}

// What a proxy or a broken connection says of something that may be over soon.
const passing: readonly Code[] = [
  Code.Unavailable,
  Code.DeadlineExceeded,
  Code.Aborted,
  Code.Canceled,
  Code.Unknown,
  Code.Internal,
  Code.DataLoss,
];

/** Reads why a call failed. */
export function readCallFailure(error: unknown): CallFailure {
  const connectError = ConnectError.from(error);
  const { code, rawMessage, metadata } = connectError;
  const reason = metadata.get("taskgate-reason") ?? undefined;
  const [retry] = connectError.findDetails(RetryInfoSchema);
  return {
    code,
    reason,
    message: reason === undefined ? rawMessage : `${rawMessage} (${reason})`,
    canRetry:
      retry !== undefined ||
      (reason === undefined
        ? passing.includes(code)
        : code === Code.Unavailable || code === Code.DeadlineExceeded),
    retryDelayMs:
      retry?.retryDelay === undefined
        ? 0
        : Math.min(maxRetryDelayMs, Math.max(0, durationMs(retry.retryDelay))),
  };
}

/** A delay with full jitter; its bound doubles with each attempt, from the first, up to 5 s. */
export function backoffMs(attempt: number, random: () => number): number {
  return random() * Math.min(5000, 250 * 2 ** Math.min(attempt - 1, 10));
}

const maxRetryDelayMs = 30_000;
