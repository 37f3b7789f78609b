import { defineConfig } from "vitest/config";
import { tellFlaky } from "./test/support/tell-flaky.ts";

// It replaces a module, which others would then find replaced.
const isolated = ["test/session/lease-simulation.test.ts"];

export default defineConfig({
  test: {
    // Most of them wait for sockets and timers, and not for a processor.
    maxWorkers: 6,
    reporters: ["default", tellFlaky],
    setupFiles: ["test/support/compile-cache.ts"],
    // A test that waits for real sockets has time, and a hang still ends.
    testTimeout: 20_000,
    hookTimeout: 20_000,
    projects: [
      // Nothing here has global state, so that most files can share a process: a start of
      // one costs more than many a file.
      {
        extends: true,
        test: { name: "shared", isolate: false, include: ["test/**/*.test.ts"], exclude: isolated },
      },
      { extends: true, test: { name: "isolated", include: isolated } },
    ],
  },
});
