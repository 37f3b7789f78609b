/** A JSON value. Integers that a double cannot hold are bigints, so that nothing is rounded on its way through. */
export type Json = null | boolean | number | bigint | string | Json[] | JsonObject;
export type JsonObject = { [key: string]: Json };

// Under what Python's reader takes (about 1000), and what JSON.stringify can write again.
const deepestNesting = 900;

/** Strict JSON. Throws a SyntaxError for anything else, and a RangeError for nesting deeper than 900. */
export function parseJson(text: string): Json {
  // A reviver makes parsing several times slower, and few texts hold an integer that long.
  const value: Json = /\d{16}/.test(text) ? JSON.parse(text, keepIntegersExact) : JSON.parse(text);
  if (isNestedDeeper(value, deepestNesting)) {
    throw new RangeError("nested too deeply");
  }
  return value;
}

function isNestedDeeper(value: Json, limit: number): boolean {
  let level = [value];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth >= limit) {
      return true;
    }
    level = level.flatMap(childrenOf).filter((child) => typeof child === "object" && child !== null);
  }
  return false;
}

function childrenOf(value: Json): Json[] {
  if (typeof value !== "object" || value === null) {
    return [];
  }
  return Array.isArray(value) ? value : Object.values(value);
}

function keepIntegersExact(_key: string, value: Json, context?: { source?: string }): Json {
  const source = context?.source;
  if (typeof value !== "number" || Number.isSafeInteger(value)) {
    return value;
  }
  return source !== undefined && /^-?\d+$/.test(source) ? BigInt(source) : value;
}

// Newer than TypeScript's library; Node 24 has it.
const { rawJSON } = JSON as unknown as { rawJSON(text: string): unknown };

/** JSON text, with bigints as plain integers. */
export function formatJson(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) =>
    typeof part === "bigint" ? rawJSON(`${part}`) : part,
  );
}

export function isJsonObject(value: unknown): value is JsonObject {
  if (typeof value !== "object" || value === null) {
    return false;
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** Every string (keys too) and every number in a value, at any depth. */
export function* scalarsOf(value: Json): Generator<string | number | bigint> {
  // A stack of its own: the depth of a body is its sender's choice.
  const left: Json[] = [value];
  for (let part = left.pop(); part !== undefined; part = left.pop()) {
    if (isJsonObject(part)) {
      yield* Object.keys(part);
    }
    if (typeof part === "object") {
      for (const child of childrenOf(part)) {
        left.push(child);
      }
    } else if (typeof part !== "boolean") {
      yield part;
    }
  }
}

/** Whether all text in a value is free of U+0000 and of lone surrogates, which PostgreSQL's JSON cannot hold. */
export function hasStorableText(value: Json): boolean {
  for (const scalar of scalarsOf(value)) {
    if (typeof scalar === "string" && (scalar.includes("\0") || !scalar.isWellFormed())) {
      return false;
    }
  }
  return true;
}
