/** What `scanJson` reports, in the order of the text. */
export interface JsonVisitor {
  /** A string, quotes included, at `[start, end)`. */
  string?(start: number, end: number): void;
  /** A number at `[start, end)`. */
  number?(start: number, end: number): void;
  /** A bracket, brace, comma, colon or literal word at `[start, end)`. */
  other?(start: number, end: number): void;
}

const quote = 0x22;
const backslash = 0x5c;

/**
 * Walks over the tokens of JSON text without changing or decoding them. The text
 * must be JSON that `JSON.parse` takes; nothing is checked here. White space
 * between tokens is not reported.
 */
export function scanJson(text: string, visitor: JsonVisitor): void {
  let at = 0;
  while (at < text.length) {
    const start = at;
    const char = text.charCodeAt(at);
    if (char === quote) {
      at = endOfString(text, at);
      visitor.string?.(start, at);
    } else if (isNumberChar(char)) {
      at = skipWhile(text, at, isNumberChar);
      visitor.number?.(start, at);
    } else if (isLetter(char)) {
      at = skipWhile(text, at, isLetter);
      visitor.other?.(start, at);
    } else {
      at += 1;
      if (char > 0x20) {
        visitor.other?.(start, at);
      }
    }
  }
}

function endOfString(text: string, start: number): number {
  for (let end = start + 1; ; end += 1) {
    end = text.indexOf('"', end);
    let escapes = 0;
    while (text.charCodeAt(end - 1 - escapes) === backslash) {
      escapes += 1;
    }
    if (escapes % 2 === 0) {
      return end + 1;
    }
  }
}

function skipWhile(text: string, start: number, test: (char: number) => boolean): number {
  let end = start + 1;
  while (end < text.length && test(text.charCodeAt(end))) {
    end += 1;
  }
  return end;
}

// Inside a number there may also be E, e, + and a point; none of them begins one
// in JSON, and no other token holds them next to a digit.
function isNumberChar(char: number): boolean {
  return (
    (char >= 0x30 && char <= 0x39) ||
    char === 0x2d ||
    char === 0x2b ||
    char === 0x2e ||
    char === 0x45 ||
    char === 0x65
  );
}

function isLetter(char: number): boolean {
  return char >= 0x61 && char <= 0x7a;
}
