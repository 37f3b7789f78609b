import type { DescField, DescMessage } from "@bufbuild/protobuf";
import type { FieldViolation } from "./errors.ts";

/**
 * Reads which field of a JSON request could not be decoded out of the words that
 * protobuf-es says it with, which name a type where they could name a field;
 * undefined: they do not tell.
 */
export function decodeViolation(message: string, input: DescMessage): FieldViolation | undefined {
  const match = /^cannot decode (enum|field|message) (\S+) from JSON:? (.*)$/s.exec(message);
  if (match === null) {
    return undefined;
  }
  const [, what = "", name = "", problem = ""] = match;
  const [, key] = /^key "(.*)" is unknown$/s.exec(problem) ?? [];
  const field = pathTo(input, what, name);
  if (key !== undefined) {
    return { field: field === "" ? key : `${field}.${key}`, description: "is unknown" };
  }
  if (field === "") {
    return undefined;
  }
  return {
    field,
    description:
      what === "enum" ? `is ${problem}, which is not a member of the enum` : `is wrong: ${problem}`,
  };
}

// Where it may be, when it may be in several places.
function pathTo(input: DescMessage, what: string, name: string): string {
  return [...paths(input, (field) => nameOf(field, what) === name, [])].join(" or ");
}

function nameOf(field: DescField, what: string): string | undefined {
  if (what === "field") {
    return `${field.parent.typeName}.${field.name}`;
  }
  return what === "enum" ? field.enum?.typeName : field.message?.typeName;
}

function* paths(
  message: DescMessage,
  isMeant: (field: DescField) => boolean,
  above: readonly DescMessage[],
): Generator<string> {
  for (const field of message.fields) {
    if (isMeant(field)) {
      yield field.name;
    }
    const inner = field.message;
    if (inner !== undefined && !above.includes(inner) && inner !== message) {
      for (const path of paths(inner, isMeant, [...above, message])) {
        yield `${field.name}.${path}`;
      }
    }
  }
}
