import { hash, timingSafeEqual } from "node:crypto";
import type { Caller } from "../model/access.ts";

/** Somebody, and the tokens that stand for them now. */
export interface CallerTokens {
  caller: Caller;
  /** The same array as long as they are the same. */
  tokens: () => readonly string[];
}

/** Finds whom a token stands for; undefined: nobody. */
export type FindCaller = (token: string) => Caller | undefined;

/** Creates the search. All tokens are compared, in constant time each, so that time tells nothing. */
export function createFindCaller(callers: readonly CallerTokens[]): FindCaller {
  const digests = new WeakMap<readonly string[], Buffer[]>();

  function digestsOf(tokens: readonly string[]): Buffer[] {
    const known = digests.get(tokens) ?? tokens.map(sha256);
    digests.set(tokens, known);
    return known;
  }

  return (token) => {
    const presented = sha256(token);
    let found: Caller | undefined;
    for (const { caller, tokens } of callers) {
      for (const digest of digestsOf(tokens())) {
        const isMatch = timingSafeEqual(digest, presented);
        found = isMatch && found === undefined ? caller : found;
      }
    }
    return found;
  };
}

function sha256(text: string): Buffer {
  return hash("sha256", text, "buffer");
}
