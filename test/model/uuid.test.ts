import { expect, test } from "vitest";
import { parseUuid } from "../../src/model/uuid.ts";

const id = "1d876307-8c0a-42a1-8299-af0516223652";
const compact = id.replaceAll("-", "");

// What Python's `uuid.UUID` does: it removes `urn:` and `uuid:` wherever they are,
// strips braces at both ends, removes all hyphens, and wants 32 characters that
// `int(text, 16)` takes.

test.each([
  ["canonical", id],
  ["in upper case", id.toUpperCase()],
  ["in mixed case", `1D876307-8c0a-42A1-8299-aF0516223652`],
  ["without hyphens", compact],
  ["without hyphens, in upper case", compact.toUpperCase()],
  ["in braces", `{${id}}`],
  ["in braces, without hyphens", `{${compact}}`],
  ["as a URN", `urn:uuid:${id}`],
  ["as a URN, without hyphens", `urn:uuid:${compact}`],
  ["as a URN in braces", `urn:uuid:{${id}}`],
])("O-13 a UUID %s is read as Python reads it", (_, text) => {
  expect(parseUuid(text)).toBe(id);
});

test.each([
  ["nil", "00000000-0000-0000-0000-000000000000"],
  ["max", "ffffffff-ffff-ffff-ffff-ffffffffffff"],
  ["version 1", "c232ab00-9414-11ec-b3c8-9f6bdeced846"],
  ["version 7", "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"],
  ["no version at all", "12345678-1234-1234-1234-123456789abc"],
])("O-13 a UUID of any version is read: %s", (_, text) => {
  expect(parseUuid(text)).toBe(text);
});

test.each([
  ["nothing", ""],
  ["a word", "task_run_12345"],
  ["one digit too few", id.slice(0, -1)],
  ["one digit too many", `${id}0`],
  ["31 digits", compact.slice(1)],
  ["33 digits", `${compact}0`],
  ["a letter beyond f", id.replace("1d", "1g")],
  ["a blank in front", ` ${id}`],
  ["a blank behind", `${id} `],
  ["a newline behind", `${id}\n`],
  ["a newline behind 32 digits", `${compact}\n`],
  ["a tab in front", `\t${id}`],
  ["quotes around it", `"${id}"`],
  ["brackets around it", `(${id})`],
  ["a fragment of a list", `${id},${id}`],
  ["a hyphen of Unicode", id.replaceAll("-", "\u2010")],
  ["a scheme alone", "urn:uuid:"],
  ["another scheme", `urn:oid:${id}`],
])("O-13 %s is refused, as Python does", (_, text) => {
  expect(parseUuid(text)).toBeUndefined();
});

// These come of how Python strips and parses, and nobody writes them on purpose.
test.each([
  ["hyphens elsewhere", compact.replace(/(.{4})/g, "$1-")],
  ["a hyphen in front", `-${compact}`],
  ["some hyphens missing", id.replace("-", "")],
  ["a brace on one side", `{${id}`],
  ["two braces on each side", `{{${id}}}`],
  ["half of the URN's scheme", `urn:${id}`],
  ["the other half", `uuid:${id}`],
  ["a URN inside braces", `{urn:uuid:${id}}`],
  ["a scheme behind", `${id}urn:uuid:`],
  ["a prefix of hexadecimal digits", `0x${compact.slice(2)}`],
  ["an underscore between digits", `${compact.slice(0, 15)}_${compact.slice(16)}`],
  ["a sign", `+${compact.slice(1)}`],
  ["digits of another script", compact.replace("1", "\u0661")],
  ["31 digits and a newline", `${compact.slice(1)}\n`],
])("%s is refused, although Python takes it by accident", (_, text) => {
  expect(parseUuid(text)).toBeUndefined();
});

test("the scheme of a URN is read in upper case, too, as RFC 8141 has it and Python does not", () => {
  expect(parseUuid(`URN:UUID:${id}`)).toBe(id);
});
