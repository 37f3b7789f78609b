import { expect, test } from "vitest";
import { decodeOps, decodeResults, encodeOps, encodeResults } from "../../src/outbox/batch-codec.ts";
import type { StoreOp } from "../../src/outbox/store.ts";
import { acceptOf, delivered, newReport, someFailure, startMs, useStore } from "./use-store.ts";

/** Runs operations as the other thread would, and says what arrives here of what they came to. */
function throughThreads(ops: StoreOp[]) {
  const store = useStore();
  const arrived = decodeOps(encodeOps(ops));
  expect(arrived).toEqual(ops);
  const results = store.runAll(arrived).map((result) => ({ result }));
  return { results, decoded: decodeResults(ops, encodeResults(arrived, results)) };
}

const settle = { type: "settle", nowMs: startMs, claimNext: true, supersede: false } as const;
const again = {
  kind: "again",
  failure: someFailure,
  dueMs: 1,
  isInDoubt: true,
  isOwnFailure: false,
} as const;

test.each<[name: string, ops: StoreOp[]]>([
  ["a report that leaves at once", [acceptOf(newReport("status", "a", "1"), { mayLeave: true })]],
  ["an outcome that leaves at once", [acceptOf(newReport("outcome", "ä", "✓ done"), { mayLeave: true })]],
  ["reports that wait", [acceptOf(newReport("output", "a", "1")), acceptOf(newReport("log", "a", "2"))]],
  [
    "a repetition, and a refusal",
    [
      acceptOf(newReport("outcome", "a", "1"), { requestId: "r", contentHash: "h" }),
      acceptOf(newReport("outcome", "a", "1"), { requestId: "r", contentHash: "h" }),
      acceptOf(newReport("status", "a", "2")),
    ],
  ],
  [
    "attempts that end well, and not",
    [
      acceptOf(newReport("status", "a", "1"), { mayLeave: true }),
      acceptOf(newReport("status", "a", "2")),
      { ...settle, seq: 1, settlement: delivered },
      { ...settle, seq: 2, settlement: again },
    ],
  ],
  [
    "a lease",
    [
      {
        type: "beginLease",
        nowMs: startMs,
        lease: {
          task: { upstream: "orchestra", lane: "orchestra", key: "a/0", taskId: "a", attempt: "0" },
          caller: "alice",
          sessionId: "s",
          onLost: "fail",
          lostPayload: "",
          createMs: startMs,
        },
      },
      { type: "task", upstream: "orchestra", key: "a/0" },
      { type: "task", upstream: "orchestra", key: "none" },
    ],
  ],
])("%s arrives as it was sent", (_, ops) => {
  const { results, decoded } = throughThreads(ops);
  expect(decoded).toEqual(results);
});
