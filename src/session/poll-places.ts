/** How many polls may be under way, over all definitions. */
export interface PollPlaces {
  /** Takes a place. Where there is none, `wake` is called once when there is one. */
  enter(wake: () => void): boolean;
  leave(): void;
  /** Somebody waits for a place. */
  isCrowded(): boolean;
}

/** Creates so many places, for which those who wait take turns. */
export function createPollPlaces(count: number): PollPlaces {
  const waiting = new Set<() => void>();
  let taken = 0;
  return {
    enter(wake) {
      if (taken >= count) {
        waiting.add(wake);
        return false;
      }
      taken += 1;
      return true;
    },
    leave() {
      taken -= 1;
      // Whoever is woken may want it no more.
      for (const wake of waiting) {
        if (taken >= count) {
          return;
        }
        waiting.delete(wake);
        wake();
      }
    },
    isCrowded: () => waiting.size > 0,
  };
}
