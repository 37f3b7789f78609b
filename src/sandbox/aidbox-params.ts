import { parseInstant } from "./aidbox-resource.ts";
import { isJsonObject } from "./json.ts";

/** What a parameter must be. `any` is any value at all, `json-object` an object of whatever shape. */
export type ParamKind =
  | "string"
  | "strings"
  | "integer"
  | "boolean"
  | "instant"
  | "json-object"
  | "any"
  | readonly string[]
  | ParamSchema;

export interface ParamSchema {
  readonly [name: string]: ParamKind | { readonly required: ParamKind };
}

export interface ParamError {
  readonly message: string;
  readonly type: string;
}

/**
 * What is wrong with the parameters of a call. FACT: the shape of an error. INFERENCE: that unknown parameters are
 * refused, as zen refuses unknown keys, and the wording, which is zen's.
 */
export function paramErrors(schema: ParamSchema, params: unknown): ParamError[] {
  if (!isJsonObject(params)) {
    return [wrongType("map", params)];
  }
  const errors: ParamError[] = [];
  for (const name of Object.keys(params)) {
    if (!Object.hasOwn(schema, name)) {
      errors.push({ message: `unknown key :${name}`, type: "unknown-key" });
    }
  }
  for (const [name, rule] of Object.entries(schema)) {
    const isRequired = typeof rule === "object" && "required" in rule;
    const kind = isRequired ? (rule.required as ParamKind) : (rule as ParamKind);
    const value: unknown = params[name];
    if (value !== undefined) {
      errors.push(...valueErrors(kind, value));
    } else if (isRequired) {
      errors.push({ message: `:${name} is required`, type: "require" });
    }
  }
  return errors;
}

function valueErrors(kind: ParamKind, value: unknown): ParamError[] {
  switch (kind) {
    case "any":
      return [];
    case "string":
    case "boolean":
      return typeof value === kind ? [] : [wrongType(kind, value)];
    case "integer":
      return Number.isInteger(value) || typeof value === "bigint" ? [] : [wrongType("integer", value)];
    case "strings":
      if (!Array.isArray(value)) {
        return [wrongType("vector", value)];
      }
      return value.flatMap((item) => valueErrors("string", item));
    case "instant":
      if (typeof value !== "string") {
        return [wrongType("string", value)];
      }
      return parseInstant(value) === undefined
        ? [{ message: `Expected a date and time, got '${value}'`, type: "string.regex" }]
        : [];
    case "json-object":
      return isJsonObject(value) ? [] : [wrongType("map", value)];
    default:
      if (!isOneOf(kind)) {
        return paramErrors(kind, value);
      }
      return kind.some((each) => each === value)
        ? []
        : [{ message: `Expected one of ${kind.join(", ")}`, type: "enum" }];
  }
}

function isOneOf(kind: readonly string[] | ParamSchema): kind is readonly string[] {
  return Array.isArray(kind);
}

function wrongType(expected: string, value: unknown): ParamError {
  const type =
    value instanceof Date ? "date" : Array.isArray(value) ? "vector" : value === null ? "nil" : typeof value;
  return { message: `Expected type of '${expected}', got '${type}'`, type: `${expected}.type` };
}
