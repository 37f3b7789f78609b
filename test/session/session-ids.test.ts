import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { createSessionIds } from "../../src/session/session-ids.ts";

const randomText = (length: number) => randomBytes(length).toString("base64url").slice(0, length);
const ids = createSessionIds("key", randomText);

test("an id is genuine for what it was given for, and for nothing else", () => {
  const id = ids.create("orchestra/t");
  expect(ids.isGenuine(id, "orchestra/t")).toBe(true);
  expect(ids.isGenuine(id, "orchestra/t2")).toBe(false);
  expect(ids.isGenuine(id, "")).toBe(false);
});

test("a gateway behind this one on the same store recognises it, and one on another store does not", () => {
  const id = ids.create("t");
  expect(createSessionIds("key", randomText).isGenuine(id, "t")).toBe(true);
  expect(createSessionIds("another key", randomText).isGenuine(id, "t")).toBe(false);
});

test("no two are alike, and each is plain text of 32 characters", () => {
  const all = Array.from({ length: 1000 }, () => ids.create("t"));
  expect(new Set(all).size).toBe(all.length);
  expect(all.filter((id) => !/^[\w-]{32}$/.test(id))).toEqual([]);
});

test.each([
  ["nothing", () => ""],
  ["an id that is cut", (id: string) => id.slice(0, -1)],
  ["an id with something behind it", (id: string) => `${id}x`],
  ["another random part", (id: string) => `${id[0] === "A" ? "B" : "A"}${id.slice(1)}`],
  ["another end", (id: string) => `${id.slice(0, -1)}${id.endsWith("A") ? "B" : "A"}`],
  ["characters of several bytes", () => "ü".repeat(32)],
  ["half of a pair", (id: string) => `${id.slice(0, -1)}\ud800`],
])("%s is not genuine", (_, change) => {
  expect(ids.isGenuine(change(ids.create("t")), "t")).toBe(false);
});

test("a name cannot borrow from the random part", () => {
  const fixed = createSessionIds("key", (length) => "a".repeat(length));
  const id = fixed.create("x\ny");
  expect(fixed.isGenuine(id, "x\ny")).toBe(true);
  expect(fixed.isGenuine(id, "y")).toBe(false);
});
