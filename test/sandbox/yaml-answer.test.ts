import fc from "fast-check";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { jsonOfYaml, readYaml11 } from "../../src/sandbox/yaml-1-1.ts";
import { formatYaml } from "../../src/sandbox/yaml-answer.ts";

const id = "819c2499-1303-4c0e-bf1e-bcca761bfbde";

test("an answer looks like Aidbox's: folded ids, quoted timestamps, quoted numeric strings, plain words", () => {
  const value = {
    result: {
      resources: [
        {
          id,
          definition: "aidbox.bulk/import-resource-task",
          params: { resourceType: "Organization", tags: [], none: null },
          meta: { lastUpdated: "2023-05-04T16:33:14.682354Z", versionId: "17633" },
          retryCount: 1,
        },
      ],
    },
  };
  expect(formatYaml(value, { foldIds: true })).toBe(`result:
  resources:
    - id: >-
        ${id}
      definition: aidbox.bulk/import-resource-task
      params:
        resourceType: Organization
        tags: []
        none: null
      meta:
        lastUpdated: '2023-05-04T16:33:14.682354Z'
        versionId: '17633'
      retryCount: 1
`);
});

test("ids are plain words when folding is off", () => {
  expect(formatYaml({ id }, { foldIds: false })).toBe(`id: '${id}'\n`);
});

test("any JSON value can be read back, by a reader of YAML 1.1 and by one of YAML 1.2", () => {
  const text = fc.oneof(
    fc.string({ unit: "binary" }).filter((each) => each.isWellFormed()),
    fc.constantFrom(
      "yes",
      "n",
      "2021-10-25",
      "0123",
      "12:30",
      "=",
      "<<",
      "",
      " a",
      "a ",
      "a: b",
      "a #b",
      "'",
      "-",
      id,
    ),
  );
  const { value } = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      text,
      fc.integer(),
      fc.boolean(),
      fc.constant(null),
      fc.bigInt(),
      fc.double({ noNaN: true, noDefaultInfinity: true }).map((each) => (each === 0 ? 0 : each)),
      fc.array(tie("value"), { maxLength: 4 }),
      fc.dictionary(text, tie("value"), { maxKeys: 4, noNullPrototype: true }),
    ),
  }));
  fc.assert(
    fc.property(value, fc.boolean(), (result, foldIds) => {
      const written = formatYaml({ result }, { foldIds });
      expect(jsonOfYaml(readYaml11(written))).toEqual({ result: normal(result) });
      expect(jsonOfYaml(parse(written, { intAsBigInt: true }))).toEqual({ result: normal(result) });
    }),
    { numRuns: 500 },
  );
});

test("a key of any length can be read back", () => {
  const key = "k ".repeat(2000);
  expect(jsonOfYaml(readYaml11(formatYaml({ a: { [key]: [1] } }, { foldIds: true })))).toEqual({
    a: { [key]: [1] },
  });
});

/** Integers as a reader gives them. */
function normal(value: unknown): unknown {
  if (Array.isArray(value)) {
    return value.map(normal);
  }
  if (typeof value === "bigint") {
    return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  }
  if (typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value)) {
    return String(value).includes("e") ? value : BigInt(String(value));
  }
  if (typeof value !== "object" || value === null) {
    return value;
  }
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, normal(item)]));
}
