import { type Duration, durationMs } from "@bufbuild/protobuf/wkt";
import { answerMarginMs } from "../model/answer-margin.ts";

/** What Aidbox waits where nothing else is asked for (FACT). */
const defaultTimeoutMs = 60_000;

/**
 * Says how long Aidbox may wait for a task, so that it gives up before the caller
 * does: a task that is handed to nobody is out of reach for ten seconds. Returns
 * undefined for a negative timeout.
 */
export function longPollTimeoutMs(asked: Duration | undefined, remainingMs: number): number | undefined {
  const askedMs = asked === undefined ? defaultTimeoutMs : durationMs(asked);
  if (askedMs < 0) {
    return undefined;
  }
  return Math.max(0, Math.floor(Math.min(askedMs, remainingMs - answerMarginMs(remainingMs))));
}
