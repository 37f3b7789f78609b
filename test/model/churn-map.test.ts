import { expect, test } from "vitest";
import { createChurnMap } from "../../src/model/churn-map.ts";

test("keeps what is in it, in its order, however much comes and goes", () => {
  const map = createChurnMap<number, string>();
  map.set(-1, "first");
  for (let key = 0; key < 5000; key += 1) {
    map.set(key, `${key}`);
    if (key >= 10) {
      expect(map.delete(key - 10)).toBe(true);
      expect(map.delete(key - 10)).toBe(false);
    }
  }
  expect(map.size).toBe(11);
  expect(map.get(-1)).toBe("first");
  expect(map.get(4989)).toBeUndefined();
  expect([...map.keys()]).toEqual([-1, ...Array.from({ length: 10 }, (_, index) => 4990 + index)]);
  expect([...map.values()].at(-1)).toBe("4999");
});

test("a value is replaced where it is", () => {
  const map = createChurnMap<string, number>();
  map.set("a", 1);
  map.set("b", 2);
  map.set("a", 3);
  expect([...map.values()]).toEqual([3, 2]);
});

test("forgets everything", () => {
  const map = createChurnMap<string, number>();
  map.set("a", 1);
  map.clear();
  expect(map.size).toBe(0);
  expect(map.get("a")).toBeUndefined();
});
