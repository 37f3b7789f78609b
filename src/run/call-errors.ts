import { durationMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";

/** Why a call to the gateway failed. */
export interface CallFailure {
  code: Code;
  /** For people. */
  message: string;
  /** The gateway itself has answered, and not what is in between. */
  isAnswer: boolean;
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
  const reason = metadata.get("taskgate-reason");
  const [retry] = connectError.findDetails(RetryInfoSchema);
  const isAnswer = reason !== null;
  return {
    code,
    message: reason === null ? rawMessage : `${rawMessage} (${reason})`,
    isAnswer,
    canRetry:
      retry !== undefined ||
      (isAnswer ? code === Code.Unavailable || code === Code.DeadlineExceeded : passing.includes(code)),
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
