import { describe, expect, test } from "vitest";
import { metricText, toOpenMetrics } from "../../src/ops/metric-text.ts";

const plain = `# HELP calls_total Calls.
# TYPE calls_total counter
calls_total{code="OK"} 1

# HELP ready_total A gauge with an odd name.
# TYPE ready_total gauge
ready_total 1
`;

const open = `# HELP calls Calls.
# TYPE calls counter
calls_total{code="OK"} 1
# HELP ready_total A gauge with an odd name.
# TYPE ready_total gauge
ready_total 1
# EOF
`;

describe("the format of metrics", () => {
  test("OpenMetrics names counters without _total, has no empty lines, and an end", () => {
    expect(toOpenMetrics(plain)).toBe(open);
  });

  test.each([
    [undefined, "text/plain"],
    ["*/*", "text/plain"],
    ["text/plain;version=0.0.4", "text/plain"],
    [
      "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
      "application/openmetrics-text",
    ],
    ["application/openmetrics-text;q=0.4,text/plain;q=0.5", "text/plain"],
    ["application/openmetrics-text;q=0", "text/plain"],
  ])("for Accept %s is %s", (accept, type) => {
    const { contentType, body } = metricText(plain, accept);
    expect(contentType.startsWith(`${type};`)).toBe(true);
    expect(body).toBe(type === "text/plain" ? plain : open);
  });
});
