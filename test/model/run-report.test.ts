import { expect, test } from "vitest";
import { isRunOutcome, type RunStatus, runKeyText } from "../../src/model/run-report.ts";

test("attempts of one run have different keys", () => {
  const taskRunId = "1d876307-8c0a-42a1-8299-af0516223652";
  expect(runKeyText({ taskRunId, attempt: 0 })).toBe(`${taskRunId}/0`);
  expect(runKeyText({ taskRunId, attempt: 12 })).toBe(`${taskRunId}/12`);
});

test.each<[status: RunStatus, isOutcome: boolean]>([
  ["RUNNING", false],
  ["SUCCEEDED", true],
  ["FAILED", true],
  ["WARNING", true],
  ["CANCELLED", true],
])("O-08 %s ends the run: %s", (status, isOutcome) => {
  expect(isRunOutcome(status)).toBe(isOutcome);
});
