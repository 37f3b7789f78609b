import { expect, test } from "vitest";
import { terminalLine } from "../../src/ops/terminal-line.ts";

const time = "2026-01-02T03:04:05.678Z";

test("a line for people has the time, the level, what happened and its fields", () => {
  const line = JSON.stringify({
    level: "warn",
    time,
    upstream: "aidbox",
    why: "two words",
    tries: 3,
    message: "m",
  });
  expect(terminalLine(line, false)).toBe('03:04:05.678 WARN  m upstream=aidbox why="two words" tries=3\n');
});

test("an error's stack is below its line", () => {
  const err = { type: "Error", message: "x", stack: "Error: x\n    at here" };
  const line = JSON.stringify({ level: "error", time, err, message: "failed" });
  expect(terminalLine(line, false)).toBe("03:04:05.678 ERROR failed\n    Error: x\n        at here\n");
});

test("what a peer has said cannot command the terminal, nor begin a line", () => {
  const evil = "a\x1b[2Jb\nlevel=info\u009bc";
  const line = JSON.stringify({ level: "info", time, said: evil, message: evil });
  const text = terminalLine(line, false).slice(0, -1);
  expect(text).not.toMatch(/\p{Cc}/u);
  expect(text).toContain("a\\x1b[2Jb\\x0alevel=info\\x9bc");
});

test("on a terminal the level has a colour, and nothing else changes", () => {
  const line = JSON.stringify({ level: "info", time, message: "m" });
  expect(terminalLine(line, true)).toBe("03:04:05.678 \x1b[32mINFO \x1b[0m m\n");
  expect(terminalLine(line, false)).toBe("03:04:05.678 INFO  m\n");
});
