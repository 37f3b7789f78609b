import type { Spread } from "./spread.ts";

/** Says whether a median is as large as it must be. Undefined: no round counted. */
export function verdictAtLeast(what: string, spread: Spread | undefined, least: number): string {
  return `${what} of at least ${least}: ${verdict(spread && spread.median >= least)}`;
}

/** Says whether a median is as small as it must be. Undefined: no round counted. */
export function verdictAtMost(what: string, spread: Spread | undefined, most: number): string {
  return `${what} of at most ${most}: ${verdict(spread && spread.median <= most)}`;
}

function verdict(isKept: boolean | undefined): string {
  return isKept === undefined ? "client-bound" : isKept ? "kept" : "MISSED";
}
