import { expect, test } from "vitest";
import { createLastLine, cutText, maxLineLength } from "../../src/run/last-line.ts";

function lastLine(isEnded: boolean, ...chunks: (string | Buffer)[]): string {
  const line = createLastLine();
  for (const chunk of chunks) {
    line.append(Buffer.from(chunk));
  }
  return line.get(isEnded);
}

test.each([
  ["", ""],
  ["\n \n", ""],
  ["one\ntwo\n", "two"],
  ["one\ntwo", "two"],
  ["one\r\ntwo\r\n\r\n", "two"],
  ["10 %\r20 %", "20 %"],
  ["\u001b[31mred\u001b[0m\u0007\ttext \n", "red text"],
])("the last line of %j is %j", (output, line) => {
  expect(lastLine(true, output)).toBe(line);
});

test("a line that has no end yet counts at the end only", () => {
  expect([lastLine(false, "one\ntw"), lastLine(true, "one\ntw")]).toEqual(["one", "tw"]);
});

test("characters that come in parts are whole", () => {
  const bytes = Buffer.from("é");
  expect(lastLine(true, bytes.subarray(0, 1), bytes.subarray(1))).toBe("é");
});

test("a long line is cut, and of a very long one the end is known", () => {
  expect(lastLine(true, "a".repeat(600))).toBe(`${"a".repeat(maxLineLength - 3)}...`);
  expect(lastLine(true, "a".repeat(100_000), "b".repeat(8192))).toBe(`${"b".repeat(maxLineLength - 3)}...`);
});

test("no character is cut in half", () => {
  expect(cutText(`a${"\u{1f600}".repeat(10)}`, 7)).toBe("a\u{1f600}...");
});
