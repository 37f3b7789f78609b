import { once } from "node:events";
import { Worker } from "node:worker_threads";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { stringify } from "yaml";
import { type JsonNode, readYaml } from "../../src/upstream/yaml-reader.ts";
import { arbitraryJson, arbitraryText } from "../model/arbitrary-json.ts";

/** The JSON text of what `a` is. */
function textOf(yaml: string): string | undefined {
  return readYaml(`a: ${yaml}\n`).entries?.get("a")?.text;
}

/** The text that a node's parts make together: it must be the node's own. */
function assembled(node: JsonNode): string {
  if (node.items !== undefined) {
    return `[${node.items.map(assembled).join(",")}]`;
  }
  if (node.entries !== undefined) {
    const pairs = Array.from(node.entries, ([key, value]) => `${JSON.stringify(key)}:${assembled(value)}`);
    return `{${pairs.join(",")}}`;
  }
  return node.text;
}

describe("a scalar", () => {
  test.each([
    ["null", "null"],
    ["Null", "null"],
    ["NULL", "null"],
    ["~", "null"],
    ["", "null"],
    ["true", "true"],
    ["True", "true"],
    ["TRUE", "true"],
    ["false", "false"],
    ["False", "false"],
    ["FALSE", "false"],
    ["nULL", '"nULL"'],
    ["tRUE", '"tRUE"'],
    ["yes", '"yes"'],
    ["no", '"no"'],
    ["on", '"on"'],
    ["off", '"off"'],
    ["y", '"y"'],
    ["n", '"n"'],
    ["=", '"="'],
    ["<<", '"<<"'],
  ])("%s is %s", (yaml, text) => {
    expect(textOf(yaml)).toBe(text);
  });

  test.each([
    "0",
    "-0",
    "1",
    "-17",
    "9007199254740993",
    "-9223372036854775809",
    "123456789012345678901234567890",
    "1.0",
    "1.10",
    "-0.000",
    "0.1234567890123456789",
    "1e3",
    "1E3",
    "1e+3",
    "1.5E-7",
    "1.7976931348623157E308",
    "8.694749278092187E38",
    "1e400",
    "-1e400",
    "1e-400",
    "9".repeat(400),
  ])("A-53 the number %s keeps all its digits", (number) => {
    expect(textOf(number)).toBe(number);
    expect(readYaml(`{"a":${number}}`).text).toBe(`{"a":${number}}`);
    expect(readYaml(`[${number}]`).text).toBe(`[${number}]`);
    expect(readYaml(number).text).toBe(number);
  });

  // YAML 1.1 and 1.2 read these differently, or not as JSON would write a number; a
  // writer of YAML 1.1 leaves the strings among them without quotes.
  test.each([
    "08",
    "0189",
    "012",
    "-089",
    "+089",
    "00",
    "0o17",
    "0x1F",
    "0b11",
    "1_000",
    "12:30",
    "12:30:45",
    "+1",
    "+1.5",
    "1.",
    ".5",
    "-.5",
    "1e",
    "1.5.2",
    "1-2",
    "--1",
    "1,000",
    "0x",
    "+",
    ".",
    "e5",
  ])("A-40 %s is the text that it is", (text) => {
    expect(textOf(text)).toBe(JSON.stringify(text));
  });

  test.each([
    "2021-10-25",
    "2023-05-03T13:30:43",
    "2023-05-04T16:33:14.682354Z",
    "2001-12-14t21:59:43.10-05:00",
    "2001-12-14 21:59:43.10 -5",
  ])("A-40 the time stamp %s is the text that it is, with quotes and without", (text) => {
    expect(textOf(text)).toBe(JSON.stringify(text));
    expect(textOf(`'${text}'`)).toBe(JSON.stringify(text));
    expect(textOf(`"${text}"`)).toBe(JSON.stringify(text));
  });

  test.each([".inf", "-.inf", "+.INF", ".Inf", ".nan", ".NaN", ".NAN"])("%s is not a JSON number", (yaml) => {
    expect(() => textOf(yaml)).toThrow(`${yaml} is not a JSON number`);
    expect(textOf(`'${yaml}'`)).toBe(JSON.stringify(yaml));
  });

  test.each([
    ["'17633'", '"17633"'],
    ['"17633"', '"17633"'],
    ["'true'", '"true"'],
    ["'null'", '"null"'],
    ["''", '""'],
    ['""', '""'],
    ["'it''s'", '"it\'s"'],
    ["'a\\nb'", '"a\\\\nb"'],
    [
      String.raw`"a\nb\t\"\\\/\x41\u00e9\U0001f600\e\0\_\N\L\P"`,
      JSON.stringify('a\nb\t"\\/Aé😀\u001b\0\u00a0\u0085\u2028\u2029'),
    ],
    [String.raw`"\ud83d\ude00"`, '"😀"'],
    [String.raw`"\ud83d"`, '"\\ud83d"'],
    ['"a\n  b\n\n  c"', '"a b\\nc"'],
    ["'a\n  b'", '"a b"'],
    ["a\n  b", '"a b"'],
    ["a b # comment", '"a b"'],
    ["a#b", '"a#b"'],
    ["a:b", '"a:b"'],
    ["http://example.org:80/?a=b#c", '"http://example.org:80/?a=b#c"'],
    ["awf.task/failed-by-executor", '"awf.task/failed-by-executor"'],
    ["é日本😀", '"é日本😀"'],
    ["a\u0085b", '"a\u0085b"'],
    ["a\u00a0b", '"a\u00a0b"'],
  ])("A-40 the string %j is %s", (yaml, text) => {
    expect(textOf(yaml)).toBe(text);
  });

  test.each([
    [">-\n  819c2499-1303-4c0e-bf1e-bcca761bfbde", "819c2499-1303-4c0e-bf1e-bcca761bfbde"],
    [">-\n  a\n  b\n\n  c", "a b\nc"],
    [">\n  a\n  b\n", "a b\n"],
    [">+\n  a\n", "a\n\n"],
    [">-\n  17633", "17633"],
    [">-\n  true", "true"],
    ["|\n  a\n   b\n\n  c\n", "a\n b\n\nc\n"],
    ["|-\n  a: 1\n  # b", "a: 1\n# b"],
    ["|2-\n   a", " a"],
    [">-", ""],
  ])("A-40 the block %j is the text %j", (yaml, text) => {
    expect(textOf(yaml)).toBe(JSON.stringify(text));
  });

  test.each([
    ["!!str 12", '"12"'],
    ["!!str", '""'],
    ["! 12", '"12"'],
    ["! '12'", '"12"'],
    ["!", '""'],
    ["!!int '12'", "12"],
    ["!!float '8.69E38'", "8.69E38"],
    ["!!bool 'true'", "true"],
    ["!!null ''", "null"],
    ["!!seq [1]", "[1]"],
    ["!!map {b: 1}", '{"b":1}'],
    ["!<tag:yaml.org,2002:str> 12", '"12"'],
    ["[! 1, {! 2: ! 3}]", '["1",{"2":"3"}]'],
  ])("the tag of YAML itself in %s is understood", (yaml, text) => {
    expect(textOf(yaml)).toBe(text);
  });

  // Java's SnakeYAML, the reader and writer of Clojure, writes a string that holds a
  // character which YAML cannot show in this way.
  test.each([
    ["!!binary |-\n  G1szMW1yZWQbWzBt", "\u001b[31mred\u001b[0m"],
    ["!!binary AQ==", "\u0001"],
    ["!!binary 77u/YQE=", "\ufeffa\u0001"],
    ['!!binary "77+/"', "\uffff"],
    ["!!binary |-\n  w6nwn5iA\n  AA==", "é😀\0"],
    ["!!binary ''", ""],
  ])("A-40 the string %j is the text that was encoded", (yaml, text) => {
    expect(textOf(yaml)).toBe(JSON.stringify(text));
  });

  test.each(["!!binary /w==", "!!binary a", "!!binary a?==", "!!binary é"])("%s is no text", (yaml) => {
    expect(() => textOf(yaml)).toThrow();
  });

  test.each(["!!int 'x'", "!!int 1.5x", "!!bool 'maybe'", "!!null 'x'", "!!float '.inf'"])(
    "%s is not what its tag says",
    (yaml) => {
      expect(() => textOf(yaml)).toThrow();
    },
  );
});

describe("a collection", () => {
  test.each([
    ["[]", "[]"],
    ["{}", "{}"],
    ["[1, [2, {b: [3]}], ]", '[1,[2,{"b":[3]}]]'],
    ["\n- 1\n- - 2\n  - 3\n-\n", "[1,[2,3],null]"],
    ["\n  b:\n    c: 1\n  d:\n  - 2\n", '{"b":{"c":1},"d":[2]}'],
    ["{b: 1, c: , d}", '{"b":1,"c":null,"d":null}'],
    ["[b: 1, ? c : 2]", '[{"b":1},{"c":2}]'],
    ["{? b : 1, ? c}", '{"b":1,"c":null}'],
    ["\n  ? b\n  : 1\n  ? c\n", '{"b":1,"c":null}'],
  ])("%j is %s", (yaml, text) => {
    expect(textOf(yaml)).toBe(text);
  });

  test("A-53 keys keep their order, also numbers and what objects have by nature", () => {
    const yaml = "z: 1\n'10': 2\n'9': 3\n__proto__: 4\nconstructor: 5\ntoString: 6\na: 7\n'': 8\n";
    const node = readYaml(yaml);
    expect(node.text).toBe('{"z":1,"10":2,"9":3,"__proto__":4,"constructor":5,"toString":6,"a":7,"":8}');
    expect([...(node.entries?.keys() ?? [])]).toEqual([
      "z",
      "10",
      "9",
      "__proto__",
      "constructor",
      "toString",
      "a",
      "",
    ]);
    expect(node.entries?.get("hasOwnProperty")).toBeUndefined();
    expect(Object.prototype).not.toHaveProperty("polluted");
    expect(readYaml('{"__proto__":{"polluted":1}}').text).toBe('{"__proto__":{"polluted":1}}');
    expect(Object.prototype).not.toHaveProperty("polluted");
  });

  test.each([
    ["1: x", '{"1":"x"}'],
    ["1.50: x", '{"1.50":"x"}'],
    ["true: x", '{"true":"x"}'],
    ["null: x", '{"null":"x"}'],
    ["~: x", '{"null":"x"}'],
    [": x", '{"null":"x"}'],
    ["2021-10-25: x", '{"2021-10-25":"x"}'],
    ["'a': x", '{"a":"x"}'],
    ['"\\u00e9": x', '{"é":"x"}'],
    ["include-log?: x", '{"include-log?":"x"}'],
    ["? >-\n  a\n  b\n: x", '{"a b":"x"}'],
    [`? ${"k".repeat(5000)}\n: x`, `{"${"k".repeat(5000)}":"x"}`],
    [`{"${"k".repeat(5000)}":"x"}`, `{"${"k".repeat(5000)}":"x"}`],
  ])("the key of %j is a text", (yaml, text) => {
    expect(readYaml(yaml).text).toBe(text);
  });

  test.each([
    ["a list", "? [a, b]\n: x"],
    ["an empty list", "{[]: x}"],
    ["an object", "? {a: b}\n: x"],
    ["an object in a flow", "{{a: b}: x}"],
    ["a list in a pair", "[[a]: x]"],
    ["an explicit nothing within another", "? : "],
  ])("with %s as a key is no JSON", (_, yaml) => {
    expect(() => readYaml(yaml)).toThrow();
  });

  test("with objects as keys of objects, each doubling the text of the one within, is refused at once", () => {
    const startMs = performance.now();
    expect(() => readYaml("? : ".repeat(40))).toThrow();
    expect(() => readYaml(`${"{? ".repeat(45)}a${"}".repeat(45)}`)).toThrow();
    expect(performance.now() - startMs).toBeLessThan(1000);
  });

  test.each([
    ["in block style", "b: 1\nc: 2\nb: 3"],
    ["in flow style", '{"b":1,"b":1}'],
    ["in other quotes", "b: 1\n'b': 2"],
    ["in another escape", String.raw`{"b":1,"\x62":2}`],
    ["as a number and as a text", "1: a\n'1': b"],
    ["as null and as a text", "~: a\n'null': b"],
    ["that objects have by nature", "__proto__: 1\n__proto__: 2"],
  ])("with a key twice %s is refused", (_, yaml) => {
    expect(() => readYaml(yaml)).toThrow("duplicated mapping key");
  });

  test("with a merge key merges nothing: it is a key", () => {
    expect(readYaml("<<: {b: 1}\nc: 2").text).toBe('{"<<":{"b":1},"c":2}');
    expect(readYaml("<<: [{b: 1}]").text).toBe('{"<<":[{"b":1}]}');
  });

  test("an anchor that nobody refers to is nothing", () => {
    expect(readYaml("a: &x 1\nb: &y [&z 2]\n").text).toBe('{"a":1,"b":[2]}');
  });

  test.each([
    ["an alias", "a: &x 1\nb: *x"],
    ["an alias in a list", "- &x a\n- *x"],
    ["an alias as a key", "a: &x b\n*x : 1"],
    ["an alias of a merge key", "a: &x {b: 1}\n<<: *x"],
    ["an alias of itself", "&x [*x]"],
    ["an alias of nothing", "*x"],
    ["a tag of an application", "!thing 1"],
    ["a tag of an application on a list", "!thing [1]"],
    ["a tag of an application on an object", "!thing {a: 1}"],
    ["a tag of JavaScript", "!!js/function 'function () {}'"],
    ["a tag of Java", "!!javax.script.ScriptEngineManager []"],
    ["a tag of Python", "!!python/object/apply:os.system ['true']"],
    ["a set", "!!set {a, b}"],
    ["an ordered map", "!!omap [a: 1]"],
    ["a time stamp by its tag", "!!timestamp 2021-10-25"],
    ["a tag by a directive", "%TAG ! tag:example.org,2000:\n---\n!x 1"],
  ])("with %s is refused", (_, yaml) => {
    expect(() => readYaml(yaml)).toThrow();
  });

  test("an alias bomb is refused at once", () => {
    const levels = Array.from({ length: 12 }, (_, level) => {
      const below = level === 0 ? "x" : `*a${level - 1}`;
      return `a${level}: &a${level} [${Array(12).fill(below).join(", ")}]`;
    });
    const startMs = performance.now();
    expect(() => readYaml(levels.join("\n"))).toThrow("aliases");
    expect(performance.now() - startMs).toBeLessThan(1000);
  });
});

describe("a document", () => {
  test.each([
    ["---\na: 1\n", '{"a":1}'],
    ["--- a", '"a"'],
    ["a: 1\n...\n", '{"a":1}'],
    ["%YAML 1.1\n---\na: 1\n", '{"a":1}'],
    ["%YAML 1.2\n---\na: 1\n", '{"a":1}'],
    ["# comment\na: 1 # comment\n# comment\n", '{"a":1}'],
    ["\ufeffa: 1", '{"a":1}'],
    ["\ufeff---\na: 1", '{"a":1}'],
    ["a: 1\r\nb:\r\n- 2\r\nc: >-\r\n  d\r\n", '{"a":1,"b":[2],"c":"d"}'],
    ["a: 1\rb: 2\r", '{"a":1,"b":2}'],
    ["---\n", "null"],
    ["null", "null"],
    ["<html><body>502 Bad Gateway</body></html>", '"<html><body>502 Bad Gateway</body></html>"'],
    ["Internal Server Error", '"Internal Server Error"'],
  ])("%j is %s", (yaml, text) => {
    expect(readYaml(yaml).text).toBe(text);
  });

  test.each([
    ["nothing", ""],
    ["blanks", " \n \n"],
    ["a comment", "# a\n"],
    ["an end", "...\n"],
    ["a byte order mark", "\ufeff"],
    ["two documents", "a: 1\n---\nb: 2\n"],
    ["two documents, the second empty", "a: 1\n---\n"],
    ["a document behind an end", "a: 1\n...\nb: 2\n"],
    ["a page of HTML", "<!DOCTYPE html>\n<html>\n<head><title>502: Bad Gateway</title></head>\n</html>\n"],
    ["an open list", "[1, 2"],
    ["an open object", "{a: 1"],
    ["an open string", '"abc'],
    ["a bracket too many", "[1]]"],
    ["two values", '{"a":1} {"b":2}'],
    ["a tab as indentation", "a:\n\tb: 1\n"],
    ["a tab before a dash", "a:\n\t- 1\n"],
    ["too little indentation", "a:\n  - 1\n - 2\n"],
    ["a mapping within a line", "a: b: c"],
    ["a NUL", "a: b\0c"],
    ["a control character", "a: b\u0001c"],
    ["half a surrogate pair", "a: b\ud83d"],
    ["an unknown escape", '"\\q"'],
    ["an unknown directive's missing document", "%FOO\na: 1"],
    ["YAML 2.0", "%YAML 2.0\n---\na: 1"],
    ["a reserved sign", "@a"],
  ])("of %s is refused", (_, yaml) => {
    expect(() => readYaml(yaml)).toThrow();
  });

  test.each([
    ["", undefined],
    ["two blanks", 2],
    ["tabs", "\t"],
  ])("A-41 JSON is YAML, indented with %s", (_, indent) => {
    const value = {
      result: {
        resources: [{ id: "a/b", n: -1.5e-7, list: [], object: {}, "k: ": "{[\"\\\n\t😀'#&*!|>%@`" }],
      },
    };
    const json = JSON.stringify(value, null, indent);
    expect(readYaml(json).text).toBe(JSON.stringify(value));
    expect(readYaml(json.replaceAll("\n", "\r\n").replaceAll("/", "\\/")).text).toBe(JSON.stringify(value));
  });
});

describe("nesting", () => {
  const flow = (depth: number) => "[".repeat(depth) + "]".repeat(depth);
  const block = (depth: number) => `${"- ".repeat(depth)}1`;
  const keys = (depth: number) =>
    Array.from({ length: depth }, (_, level) => `${" ".repeat(level)}a:`).join("\n");

  test("may be as deep as a payload that the gateway sends, and what Aidbox puts around it", () => {
    const answer = `{"result":{"resources":[{"params":${flow(100)}}]}}`;
    expect(readYaml(answer).text).toBe(answer);
    expect(readYaml(block(104)).text).toBe(`${"[".repeat(104)}1${"]".repeat(104)}`);
  });

  test.each([
    ["lists in flow style", flow(1000)],
    ["lists in block style", block(1000)],
    ["objects in flow style", '{"a":'.repeat(1000)],
    ["objects in block style", keys(1000)],
    ["pairs", "[a: ".repeat(1000)],
    ["explicit keys", "? ".repeat(1000)],
    ["many brackets", "[".repeat(300_000)],
    ["megabytes of dashes", "- ".repeat(2_000_000)],
  ])("A-48 of %s beyond that is refused before it hurts", (_, yaml) => {
    expect(() => readYaml(yaml)).toThrow("nesting exceeded");
  });

  test.each([
    ["brackets", "["],
    ["braces", "{"],
    ["commas", ","],
    ["lines", "- a\n"],
  ])("A-48 of megabytes of %s is not even begun", (_, part) => {
    const startMs = performance.now();
    expect(() => readYaml(part.repeat(4_000_000))).toThrow("the text has more than 300000 separators");
    expect(performance.now() - startMs).toBeLessThan(500);
  });
});

test("the text of a node is made of the texts of its parts", () => {
  const node = readYaml("a:\n- 1\n- b: >-\n    c\n- ~\nd: {}\ne: 1.50\n");
  expect(node.text).toBe('{"a":[1,{"b":"c"},null],"d":{},"e":1.50}');
  expect(assembled(node)).toBe(node.text);
  const { text, items } = node.entries?.get("a") ?? node;
  expect(text).toBe('[1,{"b":"c"},null]');
  expect(items?.map((item) => item.text)).toEqual(["1", '{"b":"c"}', "null"]);
});

test("a large text deep inside is not held once for each level", async () => {
  const source = new URL("../../src/upstream/yaml-reader.ts", import.meta.url);
  const worker = new Worker(
    `import(${JSON.stringify(source)}).then(({ readYaml }) => {
      const yaml = "[".repeat(90) + '"' + "x".repeat(8 * 1024 * 1024) + '"' + ",1]".repeat(90);
      const node = readYaml(yaml);
      require("node:worker_threads").parentPort.postMessage([node.text === yaml, node.items.length]);
    });`,
    { eval: true, resourceLimits: { maxOldGenerationSizeMb: 256 } },
  );
  expect(await once(worker, "message")).toEqual([[true, 2]]);
  await worker.terminate();
});

test.each([
  ["a long list", `[${"1,".repeat(200_000)}1]`],
  ["a long list in block style", "- a\n".repeat(200_000)],
  ["many keys", Array.from({ length: 100_000 }, (_, key) => `k${key}: v`).join("\n")],
  ["many pairs", `[${"a: 1,".repeat(100_000)}]`],
  ["a long string", `"${"x".repeat(8_000_000)}"`],
  ["many escapes", `"${"\\n".repeat(2_000_000)}"`],
  ["a long block", `>\n${"  a\n\n".repeat(149_000)}`],
  ["a long plain text", `a${"\n b".repeat(299_000)}`],
  ["many blank lines", `a${"\n".repeat(299_000)} b`],
  ["many blanks", `a: b${" ".repeat(4_000_000)}c`],
  ["many comments", `${"# a\n".repeat(299_000)}a: 1`],
])("%s is read in a time that grows with its size only", (_, yaml) => {
  const startMs = performance.now();
  readYaml(yaml);
  expect(performance.now() - startMs).toBeLessThan(5000);
});

test("A-40 what a writer of YAML makes of any JSON value is read as that value", () => {
  const text = fc.oneof(
    fc.constantFrom(
      "",
      "yes",
      "~",
      "2021-10-25",
      "12:30",
      "0x1F",
      "1e3",
      "08",
      "-",
      "a: b",
      "a\nb\n",
      "'",
      "=",
      "<<",
    ),
    // This writer leaves them as they are; YAML's own rules want them escaped.
    arbitraryText.filter((each) => !/[\u0085\u2028\u2029\ufffe\uffff]/.test(each)),
    fc.string(),
  );
  fc.assert(
    fc.property(arbitraryJson(text), fc.constantFrom("1.1" as const, "1.2" as const), (each, version) => {
      const node = readYaml(stringify({ result: each }, { version, aliasDuplicateObjects: false }));
      expect(JSON.parse(node.text)).toEqual(JSON.parse(JSON.stringify({ result: each })));
      expect(assembled(node)).toBe(node.text);
    }),
  );
});

test("whatever is read is JSON, and whatever is not is an error", () => {
  const piece = fc.constantFrom(
    ..."a b 1 'x' \"y\" - ? : , [ ] { } & * ! | > # % ~ !!str &a *a -- ... 0o7 .inf".split(" "),
    " ",
    "\n",
    "\n  ",
    "\t",
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
      let node: JsonNode;
      try {
        node = readYaml(pieces.join(""));
      } catch (error) {
        expect(error).toBeInstanceOf(Error);
        expect(error).not.toBeInstanceOf(TypeError);
        return;
      }
      expect(() => JSON.parse(node.text)).not.toThrow();
      expect(assembled(node)).toBe(node.text);
    }),
    { numRuns: 3000 },
  );
});
