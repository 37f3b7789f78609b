import type { ConnectError } from "@connectrpc/connect";

/** Places for calls that are under way, over all connections. */
export interface CallPlaces {
  /** Takes one; throws the error to answer with where there is none. */
  take(isPublic: boolean): void;
  give(isPublic: boolean): void;
}

// Whoever has no token must not keep out those who have one.
const publicShare = 0.1;

/**
 * Creates `maxCalls` places, of which a tenth may be taken by calls that need no token.
 * `full` is thrown as it is each time: in a flood a stack for each would cost most.
 */
export function createCallPlaces(maxCalls: number, full: ConnectError): CallPlaces {
  const maxPublic = Math.ceil(maxCalls * publicShare);
  let taken = 0;
  let takenByPublic = 0;
  return {
    take(isPublic) {
      if (taken >= maxCalls || (isPublic && takenByPublic >= maxPublic)) {
        throw full;
      }
      taken += 1;
      takenByPublic += isPublic ? 1 : 0;
    },
    give(isPublic) {
      taken -= 1;
      takenByPublic -= isPublic ? 1 : 0;
    },
  };
}
