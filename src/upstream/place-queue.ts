import { createChurnMap } from "../model/churn-map.ts";

/** A limited number of places, given to those who wait: first come, first served. */
export interface PlaceQueue {
  /**
   * Calls `enter` when there is a place, maybe at once. The place is taken until
   * `leave`. Returns how to stop waiting, which does nothing once `enter` was called.
   */
  wait(enter: () => void): () => void;
  /** Gives one place back. */
  leave(): void;
}

/** Creates a queue for that many places. */
export function createPlaceQueue(places: number): PlaceQueue {
  const waiting = createChurnMap<() => void, undefined>();
  let taken = 0;

  function admit(): void {
    // Who enters may let in others, or make them wait.
    while (taken < places && waiting.size > 0) {
      for (const enter of waiting.keys()) {
        if (taken >= places) {
          return;
        }
        if (waiting.delete(enter)) {
          taken += 1;
          enter();
        }
      }
    }
  }

  return {
    wait(enter) {
      if (taken < places && waiting.size === 0) {
        taken += 1;
        enter();
        return nothing;
      }
      waiting.set(enter, undefined);
      return () => waiting.delete(enter);
    },
    leave() {
      taken -= 1;
      if (waiting.size > 0) {
        // Not at once: who enters may leave at once, and so might thousands, each
        // within the call of the one before.
        queueMicrotask(admit);
      }
    },
  };
}

function nothing(): void {}
