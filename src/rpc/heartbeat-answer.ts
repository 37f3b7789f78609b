import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { OnLost } from "../../gen/taskgate/v1/session_pb.ts";
import type { OnLost as OnLostWord } from "../model/lease.ts";
import type { BeatAnswer, BeatResult } from "../model/lease-book.ts";
import { errorFromFailure } from "./errors.ts";

/** How leases run, as workers are told. */
export interface LeaseTimes {
  leaseDurationMs: number;
  heartbeatIntervalMs: number;
}

/** The answer to a unary heartbeat. Throws the failure of one that failed. */
export function heartbeatAnswer(result: BeatResult, times: LeaseTimes) {
  if (result.kind === "failed") {
    throw errorFromFailure(result.failure);
  }
  const { answer } = result;
  return {
    ...directiveOf(answer),
    leaseDuration: durationFromMs(times.leaseDurationMs),
    nextHeartbeat: durationFromMs(times.heartbeatIntervalMs),
    sessionId: answer.sessionId,
  };
}

/** The part of an answer that streams say, too. */
export function directiveOf({ directive, cause, leaseExpireMs }: Omit<BeatAnswer, "sessionId">) {
  return leaseExpireMs === undefined
    ? { directive, cause }
    : { directive, cause, leaseExpireTime: timestampFromMs(leaseExpireMs) };
}

/** Reads what is to be done with a task whose worker is lost. */
export function onLostOf(onLost: OnLost): OnLostWord {
  return onLost === OnLost.IGNORE ? "ignore" : "fail";
}
