import { expect, test } from "vitest";
import { rememberLast } from "../../src/upstream/remember-last.ts";

test("a value is made once for an argument, and anew for another one", () => {
  const made: string[] = [];
  const headersOf = rememberLast((key: string) => {
    made.push(key);
    return { key };
  });
  const first = headersOf("a");
  expect(headersOf("a")).toBe(first);
  expect(headersOf("b")).toEqual({ key: "b" });
  expect(headersOf("a")).toEqual(first);
  expect(made).toEqual(["a", "b", "a"]);
});
