import fc from "fast-check";
import { expect, test } from "vitest";
import { jsonOfYaml, readYaml11 } from "../../src/sandbox/yaml-1-1.ts";

const trap = (text: string) => jsonOfYaml((readYaml11(`a: ${text}`) as { a: unknown }).a);

test.each([
  ["2021-10-25", "2021-10-25T00:00:00Z"],
  ["2023-05-03T13:30:43", "2023-05-03T13:30:43Z"],
  ["yes", true],
  ["off", false],
  ["on", true],
  ["ON", true],
  ["y", "y"],
  ["N", "N"],
  ["12:30", 750],
  ["1_000", 1000],
  ["0b1", 1],
  ["010", 8],
  ["0x1F", 31],
  ["~", null],
  ["", null],
  ["1e3", "1e3"],
  ["1.0e+3", 1000],
  ["2021-10-25x", "2021-10-25x"],
])("%s without quotes is what YAML 1.1 makes of it", (text, value) => {
  const read = trap(text);
  // The parser reads a float without a point, YAML 1.1 does not: both are no trap for a string with quotes.
  if (text === "1e3") {
    expect([value, 1000]).toContain(read);
  } else {
    expect(read).toEqual(value);
  }
});

test.each(["2021-10-25", "yes", "12:30", "1_000", "010", "=", "<<", "~", ""])(
  "%s in quotes is a string",
  (text) => {
    expect(trap(`"${text}"`)).toBe(text);
    expect(trap(`'${text}'`)).toBe(text);
  },
);

test.each([
  ["an escaped slash", String.raw`"a\/b"`],
  ["an escaped pair of surrogates", String.raw`"\uD83D\uDE00"`],
  ["an escaped lone surrogate", String.raw`"\ud83d"`],
  ["an unescaped control character", '"a\u0001b"'],
  ["an unescaped DEL", '"a\u007fb"'],
  ["an unescaped NUL", '"a\u0000b"'],
  ["a value token", "="],
  ["a merge token as a value", "<<"],
  ["an unknown escape", String.raw`"\q"`],
  ["a tag without a meaning", "!thing 1"],
  ["a tab as indentation", "\n\tb: 1"],
  ["an alias without its anchor", "*b"],
  ["a second document", "1\n---\nb: 2"],
  ["a broken flow collection", "[1, 2"],
])("%s is refused", (_what, text) => {
  expect(() => readYaml11(`a: ${text}`)).toThrow();
});

test("an implicit key of more than 1024 characters is refused, in block and in flow style", () => {
  const key = "k".repeat(1025);
  expect(() => readYaml11(`${key}: 1`)).toThrow();
  expect(() => readYaml11(`{"${key}": 1}`)).toThrow();
  expect(() => readYaml11(`{"${"k".repeat(1000)}": 1}`)).not.toThrow();
});

test("a long key is taken when it is explicit, and a long value always", () => {
  const long = "k".repeat(5000);
  expect(readYaml11(`? "${long}"\n: 1`)).toEqual({ [long]: 1n });
  expect(readYaml11(`{"a": "${long}"}`)).toEqual({ a: long });
});

test("an escaped character that is none of the traps is taken", () => {
  expect(trap(String.raw`"\u00e9\x41\U0001F600\n\t\\u\\/ \" end of a text that is looked at closely"`)).toBe(
    'éA\u{1f600}\n\t\\u\\/ " end of a text that is looked at closely',
  );
});

test("an escaped backslash before a slash is no escaped slash", () => {
  expect(trap(String.raw`"a\\/b"`)).toBe("a\\/b");
});

test("a merge key merges", () => {
  expect(jsonOfYaml(readYaml11("base: &b {x: 1}\nmore: {<<: *b, z: 2}"))).toMatchObject({
    more: { x: 1, z: 2 },
  });
});

test("a bomb of aliases and a thousand nested brackets are refused before they hurt", () => {
  const levels = Array.from({ length: 12 }, (_, level) => {
    const below = level === 0 ? '"x"' : `*a${level - 1}`;
    return `a${level}: &a${level} [${Array(12).fill(below).join(", ")}]`;
  });
  expect(() => readYaml11(levels.join("\n"))).toThrow();
  expect(() => readYaml11("[".repeat(1000) + "]".repeat(1000))).toThrow("nested too deeply");
  expect(() => readYaml11("[".repeat(1_000_000))).toThrow("nested too deeply");
  expect(() => readYaml11(`${"- ".repeat(100_000)}x`)).toThrow();
});

test("brackets inside strings do not count as nesting", () => {
  expect(readYaml11(`{"a": "${"[".repeat(5000)}"}`)).toEqual({ a: "[".repeat(5000) });
});

test("integers beyond 2^53 stay exact", () => {
  expect(trap("9007199254740993")).toBe(9007199254740993n);
  expect(trap("42")).toBe(42);
});

test("JSON text is read as what it says, if its strings hold no slash escape and its characters are plain", () => {
  const json = fc.jsonValue({ noUnicodeString: true, maxDepth: 4 }) as fc.Arbitrary<unknown>;
  fc.assert(
    fc.property(json, (value) => {
      const text = JSON.stringify({ value });
      fc.pre(!/[\u007f]|e[+-]|\d{16}|-0/.test(text));
      expect(jsonOfYaml(readYaml11(text))).toEqual(JSON.parse(text));
    }),
  );
});
