/** Where a text stops being JSON, as Python's parser says it. */
export interface JsonProblem {
  /** In characters from the text's beginning. */
  readonly position: number;
  readonly message: string;
}

/**
 * FACT: the words and positions of CPython 3.11's `json`. Undefined: the text is JSON
 * to it. Throws a RangeError for what is nested too deeply, as Python does.
 */
export function pythonJsonProblem(text: string): JsonProblem | undefined {
  const letters = Array.from(text);
  try {
    const end = skipBlanks(letters, skipValue(letters, skipBlanks(letters, 0)));
    return end === letters.length ? undefined : { position: end, message: "Extra data" };
  } catch (error) {
    if (error instanceof Problem) {
      return { position: error.position, message: error.message };
    }
    throw error;
  }
}

class Problem extends Error {
  readonly position: number;
  constructor(message: string, position: number) {
    super(message);
    this.position = position;
  }
}

type Letters = readonly string[];

function skipBlanks(letters: Letters, from: number): number {
  let at = from;
  while (/^[ \t\n\r]$/.test(letters[at] ?? "")) {
    at++;
  }
  return at;
}

function skipValue(letters: Letters, at: number): number {
  switch (letters[at]) {
    case '"':
      return skipString(letters, at);
    case "{":
      return skipObject(letters, at + 1);
    case "[":
      return skipArray(letters, at + 1);
  }
  const scalar = /^(?:null|true|false|NaN|-?Infinity|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)/;
  const [found] = scalar.exec(letters.slice(at, at + longestScalar).join("")) ?? [];
  if (found === undefined) {
    throw new Problem("Expecting value", at);
  }
  return at + found.length;
}

// A longer number counts as two: this only words what is refused already.
const longestScalar = 4096;

function skipObject(letters: Letters, from: number): number {
  let at = skipBlanks(letters, from);
  if (letters[at] === "}") {
    return at + 1;
  }
  for (;;) {
    if (letters[at] !== '"') {
      throw new Problem("Expecting property name enclosed in double quotes", at);
    }
    at = skipBlanks(letters, skipString(letters, at));
    if (letters[at] !== ":") {
      throw new Problem("Expecting ':' delimiter", at);
    }
    at = skipBlanks(letters, skipValue(letters, skipBlanks(letters, at + 1)));
    if (letters[at] === "}") {
      return at + 1;
    }
    at = skipBlanks(letters, skipComma(letters, at));
  }
}

function skipArray(letters: Letters, from: number): number {
  let at = skipBlanks(letters, from);
  if (letters[at] === "]") {
    return at + 1;
  }
  for (;;) {
    at = skipBlanks(letters, skipValue(letters, at));
    if (letters[at] === "]") {
      return at + 1;
    }
    at = skipBlanks(letters, skipComma(letters, at));
  }
}

function skipComma(letters: Letters, at: number): number {
  if (letters[at] !== ",") {
    throw new Problem("Expecting ',' delimiter", at);
  }
  return at + 1;
}

function skipString(letters: Letters, quote: number): number {
  let at = quote + 1;
  for (;;) {
    const letter = letters[at];
    if (letter === undefined) {
      throw new Problem("Unterminated string starting at", quote);
    }
    if (letter === '"') {
      return at + 1;
    }
    if (letter < " ") {
      throw new Problem("Invalid control character at", at);
    }
    at = letter === "\\" ? skipEscape(letters, at, quote) : at + 1;
  }
}

function skipEscape(letters: Letters, backslash: number, quote: number): number {
  const letter = letters[backslash + 1];
  if (letter === undefined) {
    throw new Problem("Unterminated string starting at", quote);
  }
  if (letter !== "u") {
    if (!'"\\/bfnrt'.includes(letter)) {
      throw new Problem("Invalid \\escape", backslash);
    }
    return backslash + 2;
  }
  const digits = letters.slice(backslash + 2, backslash + 6).join("");
  if (!/^[0-9a-fA-F]{4}$/.test(digits)) {
    throw new Problem("Invalid \\uXXXX escape", backslash + 1);
  }
  return backslash + 6;
}
