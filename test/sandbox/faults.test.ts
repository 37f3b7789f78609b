import { expect, test } from "vitest";
import { createFaultRules, type FaultRule } from "../../src/sandbox/faults.ts";

const candidate = { path: "/rpc", methods: ["POST", "awf.task/poll"], body: '{"id":"a"}' };
const hang = { kind: "hang" } as const;

function rulesOf(...rules: FaultRule[]) {
  const created = createFaultRules(() => 0.5);
  created.set(rules);
  return created;
}

test("the first rule that matches wins", () => {
  const rules = rulesOf(
    { id: "other", match: { path: "^/x" }, action: hang },
    { id: "a", action: hang },
    { id: "b", action: hang },
  );
  expect(rules.strike(candidate)?.id).toBe("a");
  expect(rules.fired("a")).toBe(1);
  expect(rules.fired("b")).toBe(0);
});

test.each([
  [{ path: "^/r.c$" }, true],
  [{ path: "nothing" }, false],
  [{ method: "POST" }, true],
  [{ method: "awf.task/poll" }, true],
  [{ method: "GET" }, false],
  [{ bodyIncludes: '"id":"a"' }, true],
  [{ bodyIncludes: "b" }, false],
  [{ path: "rpc", method: "GET" }, false],
])("a match of %j is %s", (match, hits) => {
  expect(rulesOf({ match, action: hang }).strike(candidate) !== undefined).toBe(hits);
});

test("a rule strikes as often as it may, and then the next one does", () => {
  const rules = rulesOf({ id: "twice", times: 2, action: hang }, { id: "rest", action: hang });
  const struck = [1, 2, 3].map(() => rules.strike(candidate)?.id);
  expect(struck).toEqual(["twice", "twice", "rest"]);
  expect(rules.rules.map(({ fired }) => fired)).toEqual([2, 1]);
});

test("a probability is asked of the sandbox's own random numbers", () => {
  expect(rulesOf({ probability: 0.6, action: hang }).strike(candidate)).toBeDefined();
  expect(rulesOf({ probability: 0.4, action: hang }).strike(candidate)).toBeUndefined();
});

test("a reset at the head strikes before the body is read, and nothing else does", () => {
  const rules = rulesOf({ id: "hang", action: hang }, { id: "head", action: { kind: "reset", at: "head" } });
  expect(rules.strike({ ...candidate, body: undefined })?.id).toBe("head");
  expect(rules.strike(candidate)?.id).toBe("hang");
});

test("counters survive the removal of a rule, and end with clear", () => {
  const rules = createFaultRules(Math.random);
  const id = rules.add({ action: hang });
  rules.strike(candidate);
  expect(rules.remove(id)).toBe(true);
  expect(rules.remove(id)).toBe(false);
  expect(rules.fired(id)).toBe(1);
  rules.clear();
  expect(rules.fired(id)).toBe(0);
});

test.each([
  { action: { kind: "explode" } },
  { action: { kind: "delay" } },
  { action: { kind: "answer", status: "500" } },
  { action: { kind: "dribble" } },
  { action: { kind: "redirect", status: 302 } },
  { action: hang, when: "later" },
  { action: { kind: "reset", at: "head" }, when: "after" },
  { action: { kind: "reset", at: "head" }, match: { bodyIncludes: "x" } },
  { action: hang, match: { path: "(" } },
  {},
  null,
])("the rule %j is refused, and the old rules stay", (rule) => {
  const rules = rulesOf({ id: "old", action: hang });
  expect(() => rules.set([rule as unknown as FaultRule])).toThrow();
  expect(rules.rules.map(({ id }) => id)).toEqual(["old"]);
});
