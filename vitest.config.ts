import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // A test that waits for real sockets has time, and a hang still ends.
    testTimeout: 20_000,
    hookTimeout: 20_000,
  },
});
