import type { Value } from "@bufbuild/protobuf/wkt";
import {
  checkJsonObjectText,
  checkJsonText,
  type JsonRules,
  type JsonTextResult,
  jsonTextFromValue,
} from "../model/json-text.ts";
import type { RequestChecker } from "./request-checker.ts";

/**
 * A JSON value in the contract: a oneof of a `google.protobuf.Value` under some
 * name, and JSON text under the same name with `_json` behind it.
 */
export type JsonChoice =
  | { readonly case: "value" | "result" | "error" | "params"; readonly value: Value }
  | {
      readonly case: "valueJson" | "resultJson" | "errorJson" | "paramsJson";
      readonly value: string;
    }
  | { readonly case: undefined; readonly value?: undefined };

/** Reads a choice as JSON text; undefined when it is not set. `prefix` precedes the field's name. */
export function jsonText(
  choice: JsonChoice,
  prefix: string,
  rules: JsonRules,
  checker: RequestChecker,
): string | undefined {
  return choice.case === undefined
    ? undefined
    : checker.json(fieldName(choice, prefix), read(choice, rules, checkJsonText));
}

/** Reads parameters, which must be an object, as JSON text; `{}` when they are not set. */
export function paramsText(
  choice: JsonChoice,
  prefix: string,
  rules: JsonRules,
  checker: RequestChecker,
): string {
  return choice.case === undefined
    ? "{}"
    : checker.json(fieldName(choice, prefix), read(choice, rules, checkJsonObjectText));
}

type SetChoice = Exclude<JsonChoice, { case: undefined }>;

function fieldName(choice: SetChoice, prefix: string): string {
  return prefix + choice.case.replace("Json", "_json");
}

function read(
  choice: SetChoice,
  rules: JsonRules,
  check: (text: string, rules: JsonRules) => JsonTextResult,
): JsonTextResult {
  if (typeof choice.value === "string") {
    return check(choice.value, rules);
  }
  const result = jsonTextFromValue(choice.value, rules);
  return "text" in result ? check(result.text, rules) : result;
}
