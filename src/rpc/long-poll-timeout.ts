import { type Duration, durationMs } from "@bufbuild/protobuf/wkt";

/** What Aidbox waits where nothing else is asked for (FACT). */
const defaultTimeoutMs = 60_000;

/**
 * Says how long Aidbox may wait for a task, so that it gives up before the caller
 * does: a task that is handed to nobody is out of reach for ten seconds. A tenth
 * of what is left, 50 ms to 1 s, is kept back. Returns undefined for a negative
 * timeout.
 */
export function longPollTimeoutMs(asked: Duration | undefined, remainingMs: number): number | undefined {
  const askedMs = asked === undefined ? defaultTimeoutMs : durationMs(asked);
  if (askedMs < 0) {
    return undefined;
  }
  const marginMs = Math.min(1000, Math.max(50, remainingMs / 10));
  return Math.max(0, Math.floor(Math.min(askedMs, remainingMs - marginMs)));
}
