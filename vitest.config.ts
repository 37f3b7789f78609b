import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    // Most of them wait for sockets and timers, and not for a processor.
    maxWorkers: 6,
    include: ["test/**/*.test.ts"],
    setupFiles: ["test/support/compile-cache.ts"],
    // A test that waits for real sockets has time, and a hang still ends.
    testTimeout: 20_000,
    hookTimeout: 20_000,
  },
});
