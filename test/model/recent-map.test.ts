import { expect, test } from "vitest";
import { createRecentMap } from "../../src/model/recent-map.ts";

test("a map of two keys forgets the one that was set first", () => {
  const map = createRecentMap<string, number>(2);
  map.set("a", 1);
  map.set("b", 2);
  map.set("c", 3);
  expect(["a", "b", "c"].map(map.get)).toEqual([undefined, 2, 3]);
});

test("a key that is set again is the newest", () => {
  const map = createRecentMap<string, number>(2);
  map.set("a", 1);
  map.set("b", 2);
  map.set("a", 3);
  map.set("c", 4);
  expect(["a", "b", "c"].map(map.get)).toEqual([3, undefined, 4]);
});

test("undefined is a key like any other, and can be deleted", () => {
  const map = createRecentMap<string | undefined, undefined>(1);
  map.set(undefined, undefined);
  expect(map.has(undefined)).toBe(true);
  map.set("a", undefined);
  expect(map.has(undefined)).toBe(false);
  map.delete("a");
  expect(map.has("a")).toBe(false);
});
