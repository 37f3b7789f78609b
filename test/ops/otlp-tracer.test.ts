import { Code } from "@connectrpc/connect";
import { expect, test, vi } from "vitest";
import { createOtlpTracer } from "../../src/ops/otlp-tracer.ts";
import { useCollector } from "../support/use-collector.ts";

// One batch is on its way at once, then so many wait.
const taken = 512 + 8192;

async function useTracer({ sampleRatio = 1 } = {}) {
  const collector = await useCollector();
  const counts = { exported: 0, failed: 0, dropped: 0 };
  const tracer = createOtlpTracer({
    endpoint: collector.url,
    headers: () => ({}),
    sampleRatio,
    resource: {},
    version: "0.0.0",
    onExported(count, error) {
      counts[error === undefined ? "exported" : "failed"] += count;
    },
    onDropped(count) {
      counts.dropped += count;
    },
  });
  function endSpans(count: number): void {
    for (let index = 0; index < count; index += 1) {
      tracer.call("/test.v1.TestService/Test", {})?.end(Code.NotFound);
    }
  }
  return { collector, counts, tracer, endSpans };
}

test("spans beyond those that may wait are dropped and counted, and all others are sent", async () => {
  const { collector, counts, tracer, endSpans } = await useTracer();
  // Nothing is answered in between.
  endSpans(taken + 7);
  expect(counts).toEqual({ exported: 0, failed: 0, dropped: 7 });
  await tracer.close(30_000);
  await vi.waitFor(() => expect(counts).toEqual({ exported: taken, failed: 0, dropped: 7 }), 30_000);
  expect(collector.spans).toHaveLength(taken);
});

test("room that an export has made is used again", async () => {
  const { counts, tracer, endSpans } = await useTracer();
  endSpans(taken + 1);
  await vi.waitFor(() => expect(counts.exported).toBeGreaterThanOrEqual(512), 30_000);
  endSpans(1);
  expect(counts.dropped).toBe(1);
  await tracer.close(30_000);
  await vi.waitFor(() => expect(counts).toEqual({ exported: taken + 1, failed: 0, dropped: 1 }), 30_000);
});

test("spans that end after the tracer is closed are counted as dropped", async () => {
  const { counts, tracer, endSpans } = await useTracer();
  await tracer.close(1000);
  endSpans(2);
  expect(counts).toEqual({ exported: 0, failed: 0, dropped: 2 });
});

test("spans that are not sampled are not counted", async () => {
  const { counts, tracer, endSpans } = await useTracer({ sampleRatio: 0 });
  endSpans(taken + 1);
  await tracer.close(1000);
  expect(counts).toEqual({ exported: 0, failed: 0, dropped: 0 });
});
