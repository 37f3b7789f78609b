import type { JsonObject } from "@bufbuild/protobuf";
import type { Value } from "@bufbuild/protobuf/wkt";
import { scanJson } from "./json-scan.ts";
import { findTextProblem } from "./text-problem.ts";

/** What a JSON payload must keep to. */
export interface JsonRules {
  /** How deeply arrays and objects may be nested. */
  maxDepth: number;
  /**
   * Refuse integers that fit neither a signed nor an unsigned 64-bit integer: the
   * Orchestrator answers 500 for ever to them (MEASURED with orchestrator-core
   * 5.3.0). Default: false.
   */
  int64Only?: boolean;
}

/** JSON text, or what is wrong with the input, as the end of a sentence about it. */
export type JsonTextResult = { readonly text: string } | { readonly problem: string };

/**
 * Takes JSON text that goes to an upstream as it is, or says why it cannot:
 * syntax, depth, U+0000, half surrogate pairs, integers beyond the rules.
 */
export function checkJsonText(text: string, rules: JsonRules): JsonTextResult {
  try {
    JSON.parse(text);
  } catch (error) {
    return { problem: `is not valid JSON: ${syntaxProblem(error)}` };
  }
  const problem = findTextProblem(text) ?? findTokenProblem(text, rules);
  return problem === undefined ? { text } : { problem };
}

/** Like `checkJsonText`, and the JSON must be an object. */
export function checkJsonObjectText(text: string, rules: JsonRules): JsonTextResult {
  const result = checkJsonText(text, rules);
  if ("text" in result && !/^[ \t\r\n]*\{/.test(text)) {
    return { problem: "must be a JSON object" };
  }
  return result;
}

/**
 * Writes a `google.protobuf.Value` as JSON text, or says why it cannot: a value
 * without a kind, NaN and infinities are no JSON.
 */
export function jsonTextFromValue(value: Value, rules: JsonRules): JsonTextResult {
  return guard(() => textFromValue(value, { depth: 0, maxDepth: rules.maxDepth }), rules);
}

/**
 * Writes a field of type `google.protobuf.Struct` as JSON text, or says why it
 * cannot. protobuf-es has read it into plain JSON before: NaN and infinities are
 * still there, and a value without a kind has become null.
 */
export function jsonTextFromObject(object: JsonObject, rules: JsonRules): JsonTextResult {
  return guard(() => JSON.stringify(object, assertFinite), rules);
}

function assertFinite(_key: string, value: unknown): unknown {
  if (typeof value === "number" && !Number.isFinite(value)) {
    throw new JsonProblem(`contains ${value}, which is not a JSON number`);
  }
  return value;
}

// A problem found deep inside a value ends the walk; the functions above turn it
// back into a result.
class JsonProblem extends Error {}

function guard(write: () => string, rules: JsonRules): JsonTextResult {
  try {
    return checkJsonText(write(), rules);
  } catch (error) {
    if (error instanceof JsonProblem) {
      return { problem: error.message };
    }
    throw error;
  }
}

interface Nesting {
  depth: number;
  maxDepth: number;
}

function textFromValue(value: Value, nesting: Nesting): string {
  const kind = value.kind;
  switch (kind.case) {
    case "nullValue":
      return "null";
    case "boolValue":
      return kind.value ? "true" : "false";
    case "stringValue":
      return JSON.stringify(kind.value);
    case "numberValue":
      if (!Number.isFinite(kind.value)) {
        throw new JsonProblem(`contains ${kind.value}, which is not a JSON number`);
      }
      return JSON.stringify(kind.value);
    case "listValue":
      return textFromList(kind.value.values, nested(nesting));
    case "structValue":
      return textFromFields(kind.value.fields, nested(nesting));
    case undefined:
      throw new JsonProblem("contains a value without a kind");
    default:
      return kind satisfies never;
  }
}

function textFromList(values: readonly Value[], nesting: Nesting): string {
  return `[${values.map((item) => textFromValue(item, nesting)).join(",")}]`;
}

function textFromFields(fields: Record<string, Value>, nesting: Nesting): string {
  const pairs = Object.entries(fields).map(
    ([key, item]) => `${JSON.stringify(key)}:${textFromValue(item, nesting)}`,
  );
  return `{${pairs.join(",")}}`;
}

function nested({ depth, maxDepth }: Nesting): Nesting {
  if (depth === maxDepth) {
    throw new JsonProblem(depthProblem(maxDepth));
  }
  return { depth: depth + 1, maxDepth };
}

// Looks at the text and not at what JSON.parse made of it, in which a key that
// comes twice hides what it had before.
function findTokenProblem(text: string, rules: JsonRules): string | undefined {
  let depth = 0;
  let problem: string | undefined;
  scanJson(text, {
    string(start, end) {
      problem ??= findEscapeProblem(text.slice(start, end));
    },
    number(start, end) {
      if (rules.int64Only === true) {
        problem ??= findIntegerProblem(text.slice(start, end));
      }
    },
    other(start) {
      const char = text[start];
      if (char === "[" || char === "{") {
        depth += 1;
        problem ??= depth > rules.maxDepth ? depthProblem(rules.maxDepth) : undefined;
      } else if (char === "]" || char === "}") {
        depth -= 1;
      }
    },
  });
  return problem;
}

// What is not escaped was looked at with the whole text.
function findEscapeProblem(token: string): string | undefined {
  return token.includes("\\u") ? findTextProblem(JSON.parse(token)) : undefined;
}

function findIntegerProblem(token: string): string | undefined {
  // 20 characters are enough for any integer of 64 bits, and BigInt takes its time for a million.
  const isTooLarge = /^-?\d+$/.test(token) && (token.length > 20 || !fits64Bits(BigInt(token)));
  return isTooLarge ? `contains the integer ${shorten(token)}, which does not fit 64 bits` : undefined;
}

function depthProblem(maxDepth: number): string {
  return `is nested more than ${maxDepth} deep`;
}

function fits64Bits(integer: bigint): boolean {
  return integer >= -(2n ** 63n) && integer < 2n ** 64n;
}

function shorten(text: string): string {
  return text.length > 40 ? `${text.slice(0, 37)}...` : text;
}

// V8 quotes the text around the fault, which may hold what no message may show. A
// message that ends in a position quotes nothing.
function syntaxProblem(error: unknown): string {
  const end = / at position (\d+) \(line \d+ column \d+\)$/;
  const position = error instanceof Error ? end.exec(error.message)?.[1] : undefined;
  return position === undefined ? "unexpected end or character" : `unexpected at position ${position}`;
}
