import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { readMetrics } from "../support/read-metrics.ts";
import { useGateway } from "../support/use-gateway.ts";

function read(path: string): string {
  return readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");
}

interface Rule {
  alert: string;
  expr: string;
}

const rules = (
  parse(read("deploy/prometheus/alerts.yaml")) as { groups: { rules: Rule[] }[] }
).groups.flatMap((group) => group.rules);
const dashboard = read("deploy/grafana/taskgate.json");
const documented = read("docs/observability.md");

function expressions(value: unknown): string[] {
  if (typeof value !== "object" || value === null) {
    return [];
  }
  return Object.entries(value).flatMap(([key, each]) =>
    typeof each === "string" && ["expr", "definition"].includes(key) ? [each] : expressions(each),
  );
}

function namesIn(text: string): string[] {
  const found = text.match(/\b(?:taskgate|process|nodejs)_[a-z0-9_]*[a-z0-9]\b/g) ?? [];
  return found.filter((name) => !text.includes(`${name}_*`));
}

// A histogram is known by three names.
function metricOf(name: string, real: ReadonlySet<string>): string | undefined {
  return [name, name.replace(/_(bucket|sum|count)$/, "")].find((each) => real.has(each));
}

describe("metrics are called what they are called", () => {
  test.each([
    ["the alert rules", rules.map(({ expr }) => expr)],
    ["the dashboard", expressions(JSON.parse(dashboard))],
    ["the document", [documented]],
  ])("in %s", async (_, texts) => {
    const { names } = await readMetrics((await useGateway()).opsUrl);
    const used = texts.flatMap(namesIn);
    expect(used.length).toBeGreaterThan(10);
    expect(used.filter((name) => metricOf(name, names) === undefined)).toEqual([]);
  });

  test("and all of the gateway's own are in the document and on the dashboard", async () => {
    const { names } = await readMetrics((await useGateway()).opsUrl);
    const own = [...names].filter((name) => name.startsWith("taskgate_"));
    expect(own.filter((name) => !documented.includes(`\`${name}\``))).toEqual([]);
    const unseen = own.filter((name) => !dashboard.includes(name));
    expect(unseen).toEqual(["taskgate_draining"]);
  });
});

test("every alert is in the document", () => {
  const inDocument = Array.from(documented.matchAll(/^\| `(Taskgate\w+)` \|/gm), ([, name]) => name);
  expect(rules.map(({ alert }) => alert)).toEqual(inDocument);
});
