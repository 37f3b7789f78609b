import { expect, test } from "vitest";
import { findTextProblem } from "../../src/model/text-problem.ts";

const nul = "contains U+0000, which the upstream cannot store";
const half = "contains half a surrogate pair, which is not Unicode text";

test.each([
  [""],
  ["plain text"],
  ["\u0001\u001b[31m\t\r\n\u007f\u0085\u00a0\u2028\ufeff\ufffe\uffff"],
  ["é 日本 😀 \u{10ffff}"],
  ["\\u0000 \\ud800 %00"],
])("%j can be sent to an upstream", (text) => {
  expect(findTextProblem(text)).toBeUndefined();
});

test.each([
  ["\0", nul],
  ["a\0", nul],
  ["\0\ud800", nul],
  ["\ud83d", half],
  ["\ude00", half],
  ["\ude00\ud83d", half],
  ["😀\ud83d", half],
  ["\ud83d😀", half],
])("%j cannot", (text, problem) => {
  expect(findTextProblem(text)).toBe(problem);
});
