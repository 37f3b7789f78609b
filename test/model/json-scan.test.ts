import fc from "fast-check";
import { expect, test } from "vitest";
import { scanJson } from "../../src/model/json-scan.ts";
import { arbitraryJson, arbitraryText } from "./arbitrary-json.ts";

type Token = readonly [kind: "string" | "number" | "other", text: string];

function tokensOf(text: string): Token[] {
  const tokens: Token[] = [];
  const collect = (kind: Token[0]) => (start: number, end: number) => {
    tokens.push([kind, text.slice(start, end)]);
  };
  scanJson(text, { string: collect("string"), number: collect("number"), other: collect("other") });
  return tokens;
}

test.each<[text: string, tokens: Token[]]>([
  ["", []],
  [" \t\r\n ", []],
  ["null", [["other", "null"]]],
  ["true", [["other", "true"]]],
  ["false", [["other", "false"]]],
  ['""', [["string", '""']]],
  ["0", [["number", "0"]]],
  ["-0", [["number", "-0"]]],
  ["-1.5e-7", [["number", "-1.5e-7"]]],
  ["1E+400", [["number", "1E+400"]]],
  ["12345678901234567890", [["number", "12345678901234567890"]]],
  [
    "[1,-2]",
    [
      ["other", "["],
      ["number", "1"],
      ["other", ","],
      ["number", "-2"],
      ["other", "]"],
    ],
  ],
  [
    "[true,1e5,false,null]",
    [
      ["other", "["],
      ["other", "true"],
      ["other", ","],
      ["number", "1e5"],
      ["other", ","],
      ["other", "false"],
      ["other", ","],
      ["other", "null"],
      ["other", "]"],
    ],
  ],
  [
    '{ "a" : "b" }',
    [
      ["other", "{"],
      ["string", '"a"'],
      ["other", ":"],
      ["string", '"b"'],
      ["other", "}"],
    ],
  ],
  [
    '{"a":1,"a":2}',
    [
      ["other", "{"],
      ["string", '"a"'],
      ["other", ":"],
      ["number", "1"],
      ["other", ","],
      ["string", '"a"'],
      ["other", ":"],
      ["number", "2"],
      ["other", "}"],
    ],
  ],
  ['"[1,{}]: true"', [["string", '"[1,{}]: true"']]],
  [String.raw`"\""`, [["string", String.raw`"\""`]]],
  [
    String.raw`["\\",1]`,
    [
      ["other", "["],
      ["string", String.raw`"\\"`],
      ["other", ","],
      ["number", "1"],
      ["other", "]"],
    ],
  ],
  [
    String.raw`["\\\"","\\\\"]`,
    [
      ["other", "["],
      ["string", String.raw`"\\\""`],
      ["other", ","],
      ["string", String.raw`"\\\\"`],
      ["other", "]"],
    ],
  ],
  [String.raw`"\u0022"`, [["string", String.raw`"\u0022"`]]],
  ['"é😀\u2028"', [["string", '"é😀\u2028"']]],
])("%s is cut into its tokens", (text, tokens) => {
  expect(tokensOf(text)).toEqual(tokens);
});

test("a visitor that wants only numbers gets only these, with their places", () => {
  const places: [number, number][] = [];
  scanJson('{"1": [2, "3", -4.5]}', { number: (start, end) => places.push([start, end]) });
  expect(places).toEqual([
    [7, 8],
    [15, 19],
  ]);
});

const form = {
  string: /^"(?:[^"\\]|\\.)*"$/,
  number: /^-?\d+(?:\.\d+)?(?:e[+-]\d+)?$/,
  other: /^(?:[[\]{},:]|true|false|null)$/,
};

test("the tokens of any JSON text are the text without the blanks between them, each of the right kind", () => {
  fc.assert(
    fc.property(arbitraryJson(arbitraryText), fc.constantFrom(undefined, 1, "\t"), (value, indent) => {
      const tokens = tokensOf(JSON.stringify(value, null, indent));
      expect(tokens.map(([, token]) => token).join("")).toBe(JSON.stringify(value));
      expect(tokens.filter(([kind, token]) => !form[kind].test(token))).toEqual([]);
    }),
  );
});

test("a long string of backslashes and quotes is scanned in little time", () => {
  const text = `["${"\\\\".repeat(500_000)}","${'\\"'.repeat(500_000)}"]`;
  const startMs = performance.now();
  expect(tokensOf(text).length).toBe(5);
  expect(performance.now() - startMs).toBeLessThan(2000);
});
