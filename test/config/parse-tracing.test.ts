import { expect, test } from "vitest";
import { parseConfig } from "../../src/config/parse-config.ts";

function parse(env: Record<string, string>) {
  return parseConfig({ fixed: {}, env, flags: {}, readFile: () => "x-key=from%20a%20file\n" });
}

const endpoint = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://collector:4318/" };

test("a collector turns tracing on, with what OpenTelemetry's own variables say", () => {
  expect(
    parse({
      ...endpoint,
      OTEL_RESOURCE_ATTRIBUTES: "service.name=mine,k8s.pod.name=p",
      TASKGATE_TRACE_SAMPLE_RATIO: "0.25",
    }),
  ).toMatchObject({
    config: {
      tracing: {
        endpoint: "http://collector:4318",
        sampleRatio: 0.25,
        resource: { "service.name": "mine", "k8s.pod.name": "p" },
      },
    },
  });
});

test("without one there is none, whatever else is set for every process of a machine", () => {
  expect(parse({ OTEL_RESOURCE_ATTRIBUTES: "a=b" })).toMatchObject({ config: { tracing: undefined } });
});

test.each([
  [{ OTEL_EXPORTER_OTLP_HEADERS: "a=1, b=two%2C%20three" }, { a: "1", b: "two, three" }],
  [{ OTEL_EXPORTER_OTLP_HEADERS_FILE: "/run/headers" }, { "x-key": "from a file" }],
])("headers may be in a variable or a file: %o", (env, headers) => {
  const result = parse({ ...endpoint, ...env });
  const secret = "config" in result ? result.config.tracing?.headers : undefined;
  expect(secret?.parse(secret.text())).toEqual(headers);
});

test.each([
  [{ OTEL_EXPORTER_OTLP_HEADERS: "s3cret" }, "OTEL_EXPORTER_OTLP_HEADERS must be name=value"],
  [{ OTEL_EXPORTER_OTLP_HEADERS: "a=%zz" }, "OTEL_EXPORTER_OTLP_HEADERS must be name=value"],
  [{ OTEL_EXPORTER_OTLP_HEADERS: "a=x%0d%0ay" }, "OTEL_EXPORTER_OTLP_HEADERS must be name=value"],
  [{ OTEL_RESOURCE_ATTRIBUTES: "a" }, "OTEL_RESOURCE_ATTRIBUTES must be name=value"],
  [{ TASKGATE_TRACE_SAMPLE_RATIO: "1.5" }, "TASKGATE_TRACE_SAMPLE_RATIO must be a number from 0 to 1"],
  [{ TASKGATE_TRACE_SAMPLE_RATIO: "half" }, "TASKGATE_TRACE_SAMPLE_RATIO must be a number from 0 to 1"],
])("%o is told", (env, problem) => {
  const result = parse({ ...endpoint, ...env });
  const problems = "problems" in result ? result.problems : [];
  expect(problems).toHaveLength(1);
  expect(problems[0]).toContain(problem);
  expect(problems[0]).not.toContain("s3cret");
});

test("headers for nobody are told", () => {
  const result = parse({ OTEL_EXPORTER_OTLP_HEADERS: "a=b" });
  expect(result).toMatchObject({
    problems: ["OTEL_EXPORTER_OTLP_HEADERS needs OTEL_EXPORTER_OTLP_ENDPOINT"],
  });
});
