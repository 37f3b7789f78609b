import { create, fromBinary, type JsonObject, toBinary } from "@bufbuild/protobuf";
import { StructSchema, type Value, ValueSchema } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  checkJsonObjectText,
  checkJsonText,
  type JsonRules,
  jsonTextFromObject,
  jsonTextFromValue,
} from "../../src/model/json-text.ts";
import { arbitraryJson, arbitraryText } from "./arbitrary-json.ts";

const rules: JsonRules = { maxDepth: 5 };
const int64Rules: JsonRules = { maxDepth: 5, int64Only: true };

const nulProblem = { problem: "contains U+0000, which the upstream cannot store" };
const surrogateProblem = { problem: "contains half a surrogate pair, which is not Unicode text" };
const depthProblem = { problem: "is nested more than 5 deep" };

type Kind = Value["kind"];

const value = (kind: Kind): Value => create(ValueSchema, { kind });
const number = (each: number): Value => value({ case: "numberValue", value: each });
const text = (each: string): Value => value({ case: "stringValue", value: each });
const list = (...values: Value[]): Value =>
  value({ case: "listValue", value: { $typeName: "google.protobuf.ListValue", values } });
const struct = (fields: Record<string, Value>): Value =>
  value({ case: "structValue", value: create(StructSchema, { fields }) });
const none = value({ case: undefined });

const lists = (depth: number) => "[".repeat(depth) + "]".repeat(depth);
const objects = (depth: number) => `${'{"a":'.repeat(depth)}1${"}".repeat(depth)}`;

describe("JSON text", () => {
  test.each([
    ["null"],
    ["true"],
    ["0"],
    ["-0"],
    ['""'],
    ["[]"],
    ["{}"],
    [' {"b" : 1 ,\n\t"a":\r\n2 } '],
    ['{"b":1,"a":2,"1":3}'],
    ["[1.0,1.10,1e0,1E5,0.1e-7]"],
    ["[9007199254740993,0.1234567890123456789]"],
    ["[1e400,-1e400,1e-400]"],
    ["1".repeat(500)],
    ['{"a":1,"a":2}'],
    ['{"__proto__":{"a":1},"constructor":null,"toJSON":"x","":0}'],
    ['"\u0001"'.replace("\u0001", "\\u0001")],
    ['"\\ud83d\\ude00 😀 \\u0085 \u2028 \ufeff \u007f"'],
    ['"\\\\u0000"'],
    ['"\\\\ud800"'],
  ])("W-06 %s passes as it is", (json) => {
    expect(checkJsonText(json, rules)).toEqual({ text: json });
  });

  test.each([
    ["", "unexpected end or character"],
    [" ", "unexpected end or character"],
    ["{", "unexpected at position 1"],
    ["[1,]", "unexpected end or character"],
    ['{"a" 1}', "unexpected at position 5"],
    ['{"a":1} x', "unexpected at position 8"],
    ["{'a':1}", "unexpected at position 1"],
    ["NaN", "unexpected end or character"],
    ["Infinity", "unexpected end or character"],
    ["undefined", "unexpected end or character"],
    ["01", "unexpected at position 1"],
    ["+1", "unexpected end or character"],
    ["1.", "unexpected at position 2"],
    [".5", "unexpected end or character"],
    ["0x1F", "unexpected at position 1"],
    ['"a\nb"', "unexpected at position 2"],
    ['"\\x41"', "unexpected at position 2"],
    ['"a\u0000"', "unexpected at position 2"],
    ["\ufeff{}", "unexpected end or character"],
    ["// a\n1", "unexpected end or character"],
    ["\u00a01", "unexpected end or character"],
  ])("%j is no JSON, and the problem says where", (json, where) => {
    expect(checkJsonText(json, rules)).toEqual({ problem: `is not valid JSON: ${where}` });
  });

  test.each([
    ["a bare word", "hunter2"],
    ["a word in an object", '{"password":hunter2}'],
    ["a word behind an object", '{"password":"hunter2"} hunter2'],
    ["an unfinished string", '{"password":"hunter2'],
    ["what looks like a position", "hunter2 at position 31337"],
    ["what looks like a position in an array", "[at position 31337]"],
    ["what looks like a whole message", "x in JSON at position 31337 (line 1 column 31338)"],
    ["a NUL beside it", '["hunter2 at position 31337 \\u0000"]'],
    ["half a surrogate pair beside it", '["hunter2 at position 31337 \\ud800"]'],
  ])("the problem never quotes the payload: %s", (_, json) => {
    expect(JSON.stringify(checkJsonText(json, rules))).not.toMatch(/hunter2|31337/);
  });

  test.each([
    ["lists", lists],
    ["objects", objects],
  ])("%s may be nested to the limit and no deeper", (_, nest) => {
    expect(checkJsonText(nest(5), rules)).toEqual({ text: nest(5) });
    expect(checkJsonText(nest(6), rules)).toEqual(depthProblem);
    expect(checkJsonText(nest(1), { maxDepth: 0 })).toEqual({ problem: "is nested more than 0 deep" });
    expect(checkJsonText("1", { maxDepth: 0 })).toEqual({ text: "1" });
  });

  test("many values beside each other are not deep", () => {
    const json = `[${Array(1000).fill(lists(4)).join(",")}]`;
    expect(checkJsonText(json, rules)).toEqual({ text: json });
  });

  test("many lists and objects beside each other make no room for a deeper one", () => {
    const json = `[[],{},[],{},${lists(5)}]`;
    expect(checkJsonText(json, rules)).toEqual(depthProblem);
  });

  test("brackets in strings and keys are not deep", () => {
    const json = `{"${"[".repeat(50)}":"${"{".repeat(50)}"}`;
    expect(checkJsonText(json, rules)).toEqual({ text: json });
  });

  test("nesting that could exhaust the stack is a problem like any other", () => {
    expect(checkJsonText(lists(500_000), rules)).toEqual(depthProblem);
    expect(checkJsonText("[".repeat(500_000), rules)).toEqual({
      problem: "is not valid JSON: unexpected end or character",
    });
  });

  test.each([
    ["in a string", '"a\\u0000b"'],
    ["in a key", '{"a\\u0000":1}'],
    ["in a list of lists", '[["\\u0000"]]'],
    ["in a value of a key", '{"a":{"b":"\\u0000"}}'],
    ["in a value that a later key of the same name hides", '{"a":"\\u0000","a":1}'],
  ])("W-08 an escaped NUL %s is refused", (_, json) => {
    expect(checkJsonText(json, rules)).toEqual(nulProblem);
  });

  test.each([
    ["an escaped first half", '"\\ud83d"'],
    ["an escaped second half", '"\\ude00"'],
    ["escaped halves in the wrong order", '"\\ude00\\ud83d"'],
    ["an escaped half in upper case", '"\\uD83D"'],
    ["a raw first half", '"\ud83d"'],
    ["a raw second half", '"\ude00"'],
    ["an escaped half in a key", '{"\\ud83d":1}'],
    ["a raw half in a key", '{"\ud83d":1}'],
    ["a half deep inside", '[{"a":["\\ud83d"]}]'],
    ["a half that a later key of the same name hides", '{"a":"\\ud83d","a":1}'],
    ["a pair that is half raw and half escaped", '"\ud83d\\ude00"'],
  ])("W-08 %s of a surrogate pair is refused", (_, json) => {
    expect(checkJsonText(json, rules)).toEqual(surrogateProblem);
  });

  test("nesting that a later key of the same name hides is refused", () => {
    expect(checkJsonText(`{"a":${lists(5)},"a":1}`, rules)).toEqual(depthProblem);
  });

  test.each([
    ["18446744073709551615"],
    ["-9223372036854775808"],
    ["9223372036854775808"],
    ["9007199254740993"],
    ["-0"],
    ["0.123456789012345678901234567890"],
    ["18446744073709551616.0"],
    ["18446744073709551616e0"],
    ["1e300"],
    ['"18446744073709551616"'],
    ['{"18446744073709551616":1}'],
  ])("W-08 %s fits", (json) => {
    expect(checkJsonText(json, int64Rules)).toEqual({ text: json });
  });

  test.each([
    ["18446744073709551616", "18446744073709551616"],
    ["-9223372036854775809", "-9223372036854775809"],
    ["100000000000000000000", "100000000000000000000"],
    ['{"a":[1,{"b":-9223372036854775809}]}', "-9223372036854775809"],
    ["[18446744073709551616,18446744073709551617]", "18446744073709551616"],
    ['{"a":18446744073709551616,"a":1}', "18446744073709551616"],
    ["9".repeat(40), "9".repeat(40)],
    ["9".repeat(41), `${"9".repeat(37)}...`],
  ])("W-08 the integer of %s is beyond 64 bits and is refused where this matters", (json, shown) => {
    expect(checkJsonText(json, int64Rules)).toEqual({
      problem: `contains the integer ${shown}, which does not fit 64 bits`,
    });
    expect(checkJsonText(json, rules)).toEqual({ text: json });
  });

  test("an integer of a million digits is refused in little time", () => {
    const startMs = performance.now();
    expect(checkJsonText("9".repeat(1_000_000), int64Rules)).toEqual({
      problem: `contains the integer ${"9".repeat(37)}..., which does not fit 64 bits`,
    });
    expect(performance.now() - startMs).toBeLessThan(2000);
  });

  test("W-06 any JSON value passes as it is, in any spelling", () => {
    fc.assert(
      fc.property(arbitraryJson(arbitraryText), fc.constantFrom(undefined, 2), (each, indent) => {
        const spelled = JSON.stringify(each, null, indent);
        fc.pre(!spelled.includes("\\u0000"));
        expect(checkJsonText(spelled, rules)).toEqual({ text: spelled });
      }),
    );
  });
});

describe("JSON text that must be an object", () => {
  test.each(["{}", ' \t\r\n{"a":[1]}'])("%j passes as it is", (json) => {
    expect(checkJsonObjectText(json, rules)).toEqual({ text: json });
  });

  test.each(["null", "true", "1", '"{}"', "[]", '[{"a":1}]', " []"])("W-07 %s is refused", (json) => {
    expect(checkJsonObjectText(json, rules)).toEqual({ problem: "must be a JSON object" });
  });

  test.each([
    ["{", { problem: "is not valid JSON: unexpected at position 1" }],
    ['{"a":"\\u0000"}', nulProblem],
    [objects(6), depthProblem],
  ])("%s has the problem of its text", (json, problem) => {
    expect(checkJsonObjectText(json, rules)).toEqual(problem);
  });
});

describe("a google.protobuf.Value", () => {
  test.each<[written: string, value: Value]>([
    ["null", value({ case: "nullValue", value: 0 })],
    ["true", value({ case: "boolValue", value: true })],
    ["false", value({ case: "boolValue", value: false })],
    ["0", number(0)],
    ["0", number(-0)],
    ["1.5", number(1.5)],
    ["9007199254740991", number(9007199254740991)],
    ["1e+21", number(1e21)],
    ["1.7976931348623157e+308", number(Number.MAX_VALUE)],
    ["5e-324", number(5e-324)],
    ['""', text("")],
    [String.raw`"a\"b\\c\nd😀"`, text('a"b\\c\nd😀')],
    ["[]", list()],
    ["{}", struct({})],
    [
      '[1,["a",null],{}]',
      list(number(1), list(text("a"), value({ case: "nullValue", value: 0 })), struct({})),
    ],
    [
      '{"b":1,"a":{"é":[true]}}',
      struct({ b: number(1), a: struct({ é: list(value({ case: "boolValue", value: true })) }) }),
    ],
    ['{"":0}', struct({ "": number(0) })],
  ])("is written as %s", (written, each) => {
    expect(jsonTextFromValue(each, rules)).toEqual({ text: written });
  });

  test("with the key __proto__ keeps it, as it came over the wire", () => {
    const sent = create(StructSchema, { fields: { _proto___: number(1) } });
    const bytes = Buffer.from(toBinary(StructSchema, sent));
    bytes.write("__proto__", bytes.indexOf("_proto___"));
    const fields = fromBinary(StructSchema, bytes).fields;
    expect(jsonTextFromValue(struct(fields), rules)).toEqual({ text: '{"__proto__":1}' });
  });

  test.each([
    ["NaN", NaN],
    ["Infinity", Infinity],
    ["-Infinity", -Infinity],
  ])("W-05 with %s is refused, at any place", (name, each) => {
    const problem = { problem: `contains ${name}, which is not a JSON number` };
    expect(jsonTextFromValue(number(each), rules)).toEqual(problem);
    expect(jsonTextFromValue(list(number(1), number(each)), rules)).toEqual(problem);
    expect(jsonTextFromValue(struct({ a: struct({ b: number(each) }) }), rules)).toEqual(problem);
  });

  test.each([
    ["at the top", none],
    ["in a list", list(number(1), none)],
    ["in an object", struct({ a: struct({ b: none }) })],
  ])("without a kind %s is refused", (_, each) => {
    expect(jsonTextFromValue(each, rules)).toEqual({ problem: "contains a value without a kind" });
  });

  test("may be nested to the limit and no deeper, whatever is inside", () => {
    const nest = (depth: number, inner: Value): Value => (depth === 0 ? inner : list(nest(depth - 1, inner)));
    expect(jsonTextFromValue(nest(5, number(1)), rules)).toEqual({ text: "[[[[[1]]]]]" });
    expect(jsonTextFromValue(nest(5, list()), rules)).toEqual(depthProblem);
    expect(jsonTextFromValue(nest(5, list(number(1))), rules)).toEqual(depthProblem);
    expect(jsonTextFromValue(nest(5, struct({ a: number(1) })), rules)).toEqual(depthProblem);
    expect(jsonTextFromValue(nest(2000, number(1)), rules)).toEqual(depthProblem);
  });

  test.each([
    ["W-08 a NUL", text("a\0b"), nulProblem],
    ["W-08 a NUL in a key", struct({ "\0": number(1) }), nulProblem],
    ["W-08 half a surrogate pair", text("\ud83d"), surrogateProblem],
    ["W-08 half a surrogate pair in a key", struct({ "\ude00": number(1) }), surrogateProblem],
    [
      "W-08 a double that is written as an integer beyond 64 bits",
      number(1e20),
      { problem: "contains the integer 100000000000000000000, which does not fit 64 bits" },
    ],
  ])("%s is refused", (_, each, problem) => {
    expect(jsonTextFromValue(each, int64Rules)).toEqual(problem);
  });
});

describe("a google.protobuf.Struct", () => {
  test.each<[written: string, object: JsonObject]>([
    ["{}", {}],
    ['{"b":[1,null,true,"é"],"a":{"":{}}}', { b: [1, null, true, "é"], a: { "": {} } }],
    ['{"a":0,"b":1e+21}', { a: -0, b: 1e21 }],
    ['{"toJSON":"x"}', { toJSON: "x" }],
    ['{"__proto__":1}', JSON.parse('{"__proto__":1}')],
  ])("W-05 is written as %s", (written, object) => {
    expect(jsonTextFromObject(object, rules)).toEqual({ text: written });
  });

  test.each([
    ["NaN", NaN],
    ["Infinity", Infinity],
    ["-Infinity", -Infinity],
  ])("W-05 with %s is refused, at any place", (name, each) => {
    const problem = { problem: `contains ${name}, which is not a JSON number` };
    expect(jsonTextFromObject({ a: each }, rules)).toEqual(problem);
    expect(jsonTextFromObject({ a: { b: [1, each] } }, rules)).toEqual(problem);
  });

  test.each<[what: string, object: JsonObject, problem: object]>([
    ["W-08 a NUL", { a: ["\0"] }, nulProblem],
    ["W-08 a NUL in a key", { a: { "\0": 1 } }, nulProblem],
    ["W-08 half a surrogate pair", { a: "\udc00" }, surrogateProblem],
    ["nesting beyond the limit", JSON.parse(objects(6)), depthProblem],
    [
      "W-08 a double that is written as an integer beyond 64 bits",
      { a: -1e20 },
      { problem: "contains the integer -100000000000000000000, which does not fit 64 bits" },
    ],
  ])("%s is refused", (_, object, problem) => {
    expect(jsonTextFromObject(object, int64Rules)).toEqual(problem);
  });
});
