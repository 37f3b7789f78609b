/** What a header can carry as a token. */
export const tokenPattern = /^[\x21-\x7e]+$/;

/** What a token must be. */
export const tokenForm = "printable ASCII without spaces";

/** What a file with tokens must hold. */
export const tokensForm = "a file with tokens of printable ASCII, one a line";

/** Reads tokens, one a line; undefined: there is none, or one that no header can carry. */
export function parseTokens(text: string): readonly string[] | undefined {
  const tokens = text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
  return tokens.length > 0 && tokens.every((token) => tokenPattern.test(token)) ? tokens : undefined;
}

/** Reads one token. */
export function parseToken(text: string): string | undefined {
  return tokenPattern.test(text) ? text : undefined;
}
