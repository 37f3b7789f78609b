import { expect, test } from "vitest";
import { formatJson, hasStorableText, parseJson, scalarsOf } from "../../src/sandbox/json.ts";

test("integers that a double cannot hold come out as they went in", () => {
  const text = '{"a":9007199254740993,"b":[-123456789012345678901234567890,1.5,2],"c":1234567890123456}';
  expect(formatJson(parseJson(text))).toBe(text);
});

test("a fraction with many digits stays a number", () => {
  expect(parseJson("1.2345678901234567")).toBe(1.2345678901234567);
});

test("what is not strict JSON is a SyntaxError", () => {
  for (const text of ["", "{", "NaN", "{'a':1}", "[1,]", "01", '"\n"', "1 2"]) {
    expect(() => parseJson(text), text).toThrow(SyntaxError);
  }
});

test("nesting is taken up to 900 levels, and anything deeper is a RangeError", () => {
  const nested = (depth: number) => "[".repeat(depth) + "]".repeat(depth);
  expect(parseJson(nested(900))).toBeInstanceOf(Array);
  expect(() => parseJson(nested(901))).toThrow(RangeError);
  expect(() => parseJson(nested(1_000_000))).toThrow(RangeError);
});

test("scalarsOf finds keys, strings and numbers at any depth", () => {
  const found = [...scalarsOf({ a: ["b", { c: 1, d: null, e: [true, 2n ** 70n] }] })];
  expect(new Set(found)).toEqual(new Set(["a", "b", "c", 1, "d", "e", 2n ** 70n]));
});

test("U+0000 and lone surrogates are found in values and in keys", () => {
  expect(hasStorableText({ a: ["\u{1f600}"] })).toBe(true);
  expect(hasStorableText({ a: ["\u0000"] })).toBe(false);
  expect(hasStorableText({ "a\u0000": 1 })).toBe(false);
  expect(hasStorableText(["\ud83d"])).toBe(false);
});
