import { expect, test } from "vitest";
import { useGatewayWithSandbox } from "../support/use-sandbox.ts";
import { runFuzz } from "../torture/fuzz.ts";
import { createRandom } from "../torture/random.ts";

// The long form, with 100,000 of them, is `npm run torture -- --scenario fuzz`.
test("S8 messages and frames that are almost right harm nobody", { timeout: 60_000 }, async () => {
  const { url, log } = await useGatewayWithSandbox({ TASKGATE_DRAIN_TIMEOUT: "100ms" });
  const { problems, statuses } = await runFuzz({
    port: Number(new URL(url).port),
    random: createRandom(8),
    messages: 800,
    connections: 150,
    atOnce: 16,
  });
  expect(problems).toEqual([]);
  // Both were there: what is refused, and what is still right.
  expect(statuses["0"]).toBeGreaterThan(0);
  expect(statuses["3"]).toBeGreaterThan(100);
  expect(log.filter(({ level }) => level === "error")).toEqual([]);
});
