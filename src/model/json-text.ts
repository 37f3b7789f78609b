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
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return { problem: `is not valid JSON: ${syntaxProblem(error)}` };
  }
  const problem =
    findValueProblem(value, rules.maxDepth, rules.maxDepth) ??
    (rules.int64Only === true ? findIntegerProblem(text) : undefined);
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
  return guard(() => textFromValue(value, rules.maxDepth), rules);
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

function textFromValue(value: Value, depth: number): string {
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
      return `[${kind.value.values.map((item) => textFromValue(item, nested(depth))).join(",")}]`;
    case "structValue":
      return textFromFields(kind.value.fields, depth);
    case undefined:
      throw new JsonProblem("contains a value without a kind");
    default:
      return kind satisfies never;
  }
}

function textFromFields(fields: Record<string, Value>, depth: number): string {
  const inner = nested(depth);
  const pairs = Object.entries(fields).map(
    ([key, item]) => `${JSON.stringify(key)}:${textFromValue(item, inner)}`,
  );
  return `{${pairs.join(",")}}`;
}

function nested(depth: number): number {
  if (depth <= 0) {
    throw new JsonProblem("is nested too deeply");
  }
  return depth - 1;
}

function findValueProblem(value: unknown, depth: number, maxDepth: number): string | undefined {
  if (typeof value === "string") {
    return findTextProblem(value);
  }
  if (typeof value !== "object" || value === null) {
    return undefined;
  }
  if (depth === 0) {
    return `is nested more than ${maxDepth} deep`;
  }
  if (Array.isArray(value)) {
    for (const item of value) {
      const problem = findValueProblem(item, depth - 1, maxDepth);
      if (problem !== undefined) {
        return problem;
      }
    }
    return undefined;
  }
  for (const [key, item] of Object.entries(value)) {
    const problem = findTextProblem(key) ?? findValueProblem(item, depth - 1, maxDepth);
    if (problem !== undefined) {
      return problem;
    }
  }
  return undefined;
}

function findIntegerProblem(text: string): string | undefined {
  // Only an integer of 19 digits or more can be too large; most texts have none.
  if (!/\d{19}/.test(text)) {
    return undefined;
  }
  let problem: string | undefined;
  scanJson(text, {
    number(start, end) {
      const token = text.slice(start, end);
      if (/^-?\d+$/.test(token) && !fits64Bits(BigInt(token))) {
        problem = `contains the integer ${shorten(token)}, which does not fit 64 bits`;
      }
    },
  });
  return problem;
}

function fits64Bits(integer: bigint): boolean {
  return integer >= -(2n ** 63n) && integer < 2n ** 64n;
}

function shorten(text: string): string {
  return text.length > 40 ? `${text.slice(0, 37)}...` : text;
}

// V8 quotes the text around the fault, which may hold what no message may show.
function syntaxProblem(error: unknown): string {
  const position = error instanceof Error ? /at position (\d+)/.exec(error.message)?.[1] : undefined;
  return position === undefined ? "unexpected end or character" : `unexpected at position ${position}`;
}
