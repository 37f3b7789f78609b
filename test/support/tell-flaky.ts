import type { Reporter } from "vitest/node";

/** Tells, at the end of a run, each test that failed and passed in a later attempt, and what it failed with. */
export const tellFlaky: Reporter = {
  onTestRunEnd(modules) {
    const flaky = modules
      .flatMap(({ children }) => [...children.allTests()])
      .filter((test) => test.diagnostic()?.flaky === true);
    for (const test of flaky) {
      const problems = test.result().errors?.map(({ message }) => message) ?? [];
      process.stdout.write(
        [`FLAKY: ${test.module.relativeModuleId} > ${test.fullName}`, ...problems, ""].join("\n"),
      );
    }
  },
};
