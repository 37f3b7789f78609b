import fc from "fast-check";
import { load, YAML11_SCHEMA } from "js-yaml";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { yamlFromJsonText } from "../../src/upstream/yaml-writer.ts";
import { arbitraryJson, arbitraryText } from "../model/arbitrary-json.ts";

/** Two readers of YAML 1.1 that share no code with each other, nor with the writer. */
const readers: readonly (readonly [name: string, read: (yaml: string) => unknown])[] = [
  ["yaml", (yaml) => parse(yaml, { version: "1.1" })],
  ["js-yaml", (yaml) => load(yaml, { schema: YAML11_SCHEMA, maxDepth: 1000 })],
];

test.each<[json: string, yaml: string]>([
  ["null", "null"],
  ["true", "true"],
  ["false", "false"],
  ["[]", "[]"],
  ["{}", "{}"],
  ['[1,"a",null]', '[1, "a", null]'],
  ['{"a":1,"b":[{},[]]}', '{"a": 1, "b": [{}, []]}'],
  [' {\r\n\t"a" : [ 1 , 2 ] } ', '{"a": [1, 2]}'],
  ['{"a":1,"a":2}', '{"a": 1, "a": 2}'],
  ['{"":""}', '{"": ""}'],
  ['{"{}[],: ":"{}[],: "}', '{"{}[],: ": "{}[],: "}'],
])("A-03 %s is written as %s", (json, yaml) => {
  expect(yamlFromJsonText(json)).toBe(yaml);
});

test.each<[json: string, yaml: string]>([
  ["0", "0"],
  ["-0", "-0"],
  ["-1", "-1"],
  ["9007199254740993", "9007199254740993"],
  ["-123456789012345678901234567890", "-123456789012345678901234567890"],
  ["1.0", "1.0"],
  ["-0.10", "-0.10"],
  ["3.14159265358979323846", "3.14159265358979323846"],
  ["1e3", "1.0e+3"],
  ["1E3", "1.0e+3"],
  ["1e+3", "1.0e+3"],
  ["1e-7", "1.0e-7"],
  ["1E-7", "1.0e-7"],
  ["-1e5", "-1.0e+5"],
  ["1.5e10", "1.5e+10"],
  ["-1.5E+10", "-1.5e+10"],
  ["0e0", "0.0e+0"],
  ["1e007", "1.0e+007"],
  ["1e400", "1.0e+400"],
])("A-03 the number %s is written as %s, with its digits and its kind", (json, yaml) => {
  expect(yamlFromJsonText(`[${json}]`)).toBe(`[${yaml}]`);
  expect(yamlFromJsonText(`{"1":${json}}`)).toBe(`{"1": ${yaml}}`);
});

test.each<[what: string, json: string, yaml: string]>([
  ["a quote", String.raw`"\""`, String.raw`"\""`],
  ["a backslash", String.raw`"\\"`, String.raw`"\\"`],
  ["an escaped slash", String.raw`"\/"`, '"/"'],
  ["an escaped backslash before a slash", String.raw`"\\/"`, String.raw`"\\/"`],
  ["a new line", String.raw`"\n"`, String.raw`"\n"`],
  ["a carriage return", String.raw`"\r"`, String.raw`"\r"`],
  ["a tab", String.raw`"\t"`, String.raw`"\t"`],
  ["a backspace and a form feed", String.raw`"\b\f"`, String.raw`"\x08\x0c"`],
  ["a NUL", String.raw`"\u0000"`, String.raw`"\x00"`],
  ["an escape", String.raw`"\u001b[31m"`, String.raw`"\x1b[31m"`],
  ["a raw DEL", '"\u007f"', String.raw`"\x7f"`],
  ["an escaped letter", String.raw`"\u0041"`, '"A"'],
  ["a letter with an accent", '"é"', String.raw`"\xe9"`],
  ["the last of Latin-1", '"ÿ"', String.raw`"\xff"`],
  ["the first beyond", '"Ā"', String.raw`"\u0100"`],
  ["a next line", '"\u0085"', String.raw`"\x85"`],
  ["a hard blank", '"\u00a0"', String.raw`"\xa0"`],
  ["line and paragraph separators", '"\u2028\u2029"', String.raw`"\u2028\u2029"`],
  ["a byte order mark", '"\ufeff"', String.raw`"\ufeff"`],
  ["a non-character", '"\uffff"', String.raw`"\uffff"`],
  ["an emoji", '"😀"', String.raw`"\U0001f600"`],
  ["an escaped emoji", String.raw`"\ud83d\uDE00"`, String.raw`"\U0001f600"`],
  ["the last character", '"\u{10ffff}"', String.raw`"\U0010ffff"`],
])("A-03 a string with %s is written in printable ASCII", (_, json, yaml) => {
  expect(yamlFromJsonText(json)).toBe(yaml);
  expect(yamlFromJsonText(`{${json}:1}`)).toBe(`{${yaml}: 1}`);
});

test("A-03 a key is explicit from 1001 characters on, as it is written, and a value never", () => {
  const key = (length: number) => `"${"k".repeat(length - 2)}"`;
  expect(yamlFromJsonText(`{${key(1000)}:1}`)).toBe(`{${key(1000)}: 1}`);
  expect(yamlFromJsonText(`{${key(1001)}:1}`)).toBe(`{? ${key(1001)} : 1}`);
  expect(yamlFromJsonText(`{"é":1,${key(1001)}:[${key(5000)}],"b":2}`)).toBe(
    `{"\\xe9": 1, ? ${key(1001)} : [${key(5000)}], "b": 2}`,
  );
  expect(yamlFromJsonText(`{"${"é".repeat(250)}":1}`)).toBe(`{? "${"\\xe9".repeat(250)}" : 1}`);
});

// What a reader of YAML 1.1 takes for something else where it is not quoted.
const traps = [
  "",
  " ",
  "a ",
  " a",
  "y",
  "Y",
  "n",
  "yes",
  "Yes",
  "no",
  "NO",
  "on",
  "off",
  "true",
  "False",
  "null",
  "Null",
  "~",
  "=",
  "<<",
  "2021-10-25",
  "2023-05-03T13:30:43",
  "2023-05-03 13:30:43.5 -05:00",
  "12:30",
  "190:20:30",
  "1_000",
  "0b1",
  "0o7",
  "012",
  "08",
  "0x1F",
  "+1",
  "-1",
  "1e3",
  "1E-7",
  "1.",
  ".5",
  ".inf",
  "-.INF",
  ".nan",
  "-",
  "- a",
  "?",
  "? a",
  ":",
  ": a",
  "a: b",
  "a:",
  "a #b",
  "# a",
  "&a",
  "*a",
  "!a",
  "!!int 1",
  "|",
  ">-",
  "@a",
  "`a",
  "%YAML 1.1",
  "%",
  "---",
  "--- a",
  "...",
  "'",
  "''",
  '"',
  "\\",
  "\\n",
  "\\/",
  "a\nb",
  "\n",
  "a\n\n b\n",
  "a\r\nb",
  "a\tb",
  "\t",
  "\u0001",
  "\u007f",
  "\u0085",
  "a\u2028b\u2029c",
  "\ufeff",
  "\ufeffa",
  "\ufffe\uffff",
  "é日本",
  "😀",
  "👩‍👩‍👧",
  "\u{10ffff}",
  "__proto__",
  "constructor",
  "toString",
  "{",
  "[a, b]",
  "{a: b}",
  ",",
  "a".repeat(998),
  "a".repeat(999),
  "a".repeat(1022),
  "a".repeat(1023),
  "a".repeat(1024),
  "a".repeat(1025),
  "a b ".repeat(2000),
  "é".repeat(600),
  "😀".repeat(300),
  '"'.repeat(700),
];

describe.each(readers)("A-03 a reader of YAML 1.1 (%s)", (_, read) => {
  test.each(traps.map((text) => [text.length > 40 ? `${text.slice(0, 40)}…` : text, text]))(
    "understands %j as the same string, value or key",
    (_name, text) => {
      expect(read(yamlFromJsonText(JSON.stringify(text)))).toBe(text);
      expect(read(yamlFromJsonText(JSON.stringify([text, [text]])))).toEqual([text, [text]]);
      const entries = Object.entries(
        read(yamlFromJsonText(`{"a":${JSON.stringify(text)},${JSON.stringify(text)}:{"z":1}}`)) as object,
      );
      expect(entries).toEqual([
        ["a", text],
        [text, { z: 1 }],
      ]);
    },
  );

  test.each([
    ["0", 0],
    ["-1", -1],
    ["9007199254740991", 9007199254740991],
    ["18446744073709551615", 2 ** 64],
    ["1e3", 1000],
    ["1E3", 1000],
    ["1e+3", 1000],
    ["1E-7", 1e-7],
    ["-1e5", -1e5],
    ["1.5E10", 1.5e10],
    ["0.1", 0.1],
    ["-0.0", -0],
    ["5e-324", 5e-324],
    ["1.7976931348623157e308", Number.MAX_VALUE],
    ["1e21", 1e21],
  ])("understands %s as the same number", (json, number) => {
    expect(read(yamlFromJsonText(`[${json}]`))).toEqual([number]);
    expect(read(yamlFromJsonText(`{"a":${json}}`))).toEqual({ a: number });
  });

  test("understands -0 as nothing but a zero", () => {
    expect(Math.abs(read(yamlFromJsonText("-0")) as number)).toBe(0);
  });

  test("understands the words of JSON, and nesting", () => {
    const json = '{"a":[null,true,false,[],{},[[],[{}]]],"b":{"c":{"d":null}}}';
    expect(read(yamlFromJsonText(json))).toEqual(JSON.parse(json));
    const deep = `${'{"a":['.repeat(50)}1${"]}".repeat(50)}`;
    expect(read(yamlFromJsonText(deep))).toEqual(JSON.parse(deep));
  });

  test("understands any JSON value as the same, however it is spelled", () => {
    const text = fc.oneof(fc.constantFrom(...traps), arbitraryText, fc.string());
    fc.assert(
      fc.property(
        arbitraryJson(text),
        fc.constantFrom(undefined, 1, "\t"),
        fc.boolean(),
        (each, indent, isEscaped) => {
          const json = JSON.stringify(each, null, indent);
          const spelled = isEscaped ? json.replaceAll("/", "\\/").replaceAll("E", "\\u0045") : json;
          const yaml = yamlFromJsonText(spelled);
          expect(yaml).toMatch(/^[\x20-\x7e]*$/);
          expect(read(yaml)).toEqual(JSON.parse(json));
        },
      ),
    );
  });
});

test("a megabyte is written in little time", () => {
  const json = JSON.stringify({ a: Array(40_000).fill({ é: '"\\' }), b: "日本".repeat(100_000) });
  const startMs = performance.now();
  expect(yamlFromJsonText(json).length).toBeGreaterThan(json.length);
  expect(performance.now() - startMs).toBeLessThan(3000);
});
