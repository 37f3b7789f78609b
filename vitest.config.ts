import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    // Most of them wait for sockets and timers, and not for a processor.
    maxWorkers: 4,
    include: ["test/**/*.test.ts"],
    // A test that waits for real sockets has time, and a hang still ends.
    testTimeout: 20_000,
    hookTimeout: 20_000,
  },
});
