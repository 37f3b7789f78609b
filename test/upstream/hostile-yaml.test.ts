import { describe, expect, test } from "vitest";
import { readYaml } from "../../src/upstream/yaml-reader.ts";

// What the gateway reads of an answer of Aidbox, at most.
const maxBytes = 8 * 1024 * 1024;

function aliasBomb(): string {
  const levels = ["a: &a [x, x, x, x, x, x, x, x, x]"];
  for (const name of "bcdefghi") {
    const before = String.fromCharCode(name.charCodeAt(0) - 1);
    levels.push(`${name}: &${name} [${Array<string>(9).fill(`*${before}`).join(", ")}]`);
  }
  return levels.join("\n");
}

function filled(piece: string, end = ""): string {
  return piece.repeat(Math.floor((maxBytes - end.length) / piece.length)) + end;
}

const bombs: readonly [what: string, text: string][] = [
  ["aliases of aliases", aliasBomb()],
  ["an alias of itself", "a: &a [*a]"],
  ["merges of merges (GHSA-2883)", `a: &a {x: 1}\n${filled("<<: *a\n").slice(0, 300_000)}`],
  ["merge keys", filled("<<: {a: 1}\n").slice(0, 300_000)],
  ["lists within lists", "[".repeat(20_000)],
  ["lists within lists, closed", "[".repeat(20_000) + "]".repeat(20_000)],
  ["objects within objects", "{a: ".repeat(20_000)],
  ["blocks within blocks", Array.from({ length: 2000 }, (_, depth) => `${" ".repeat(depth)}a:`).join("\n")],
  ["lists in one line", "- ".repeat(20_000)],
  ["brackets without an end", filled("[")],
  ["braces without an end", filled("{a: ")],
  ["commas without an end", filled(",")],
  ["lines without an end", filled("\n")],
  ["keys without an end", filled("a: \n")],
  ["question marks", filled("? ").slice(0, 100_000)],
  ["documents", filled("---\n")],
  ["directives", filled("%YAML 1.2\n").slice(0, 100_000)],
  ["tags", "!!js/function 'x'"],
  ["tags of others", "!!python/object/apply:os.system [id]"],
  ["tags without an end", filled("!a ").slice(0, 100_000)],
  ["anchors without an end", filled("&a ").slice(0, 100_000)],
  ["equal keys", "a: 1\na: 2"],
  // A text is read at about 80 MiB a second, good or bad.
  ["an open quote", `"${"x".repeat(2 * 1024 * 1024)}`],
  ["an open quote of escapes", `"${"\\x".repeat(1024 * 1024)}`],
  ["HTML", `<!DOCTYPE html>\n<html>${filled("<p>x: y</p>\n").slice(0, 200_000)}`],
  ["binary", filled("\u0000\u0001\ufffd").slice(0, 200_000)],
  ["tabs", filled("\t").slice(0, 200_000)],
];

describe("S9 YAML that is made to harm is refused, each within 50 ms of the event loop", () => {
  test.each(bombs)("%s", (_, text) => {
    expect(text.length).toBeLessThanOrEqual(maxBytes);
    // Of the processor: what else the machine does is no cost of it. The first is for the compiler.
    const times = [0, 1, 2].map(() => {
      const before = process.threadCpuUsage();
      expect(() => readYaml(text)).toThrow();
      const { user, system } = process.threadCpuUsage(before);
      return (user + system) / 1000;
    });
    expect(Math.min(...times)).toBeLessThan(50);
  });

  test("and what objects have by nature is a key like any other", () => {
    const { entries, text } = readYaml(
      "__proto__: {polluted: yes}\nconstructor: {prototype: {polluted: yes}}",
    );
    expect([...(entries?.keys() ?? [])]).toEqual(["__proto__", "constructor"]);
    expect(text).toContain('"__proto__":');
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
  });
});
