import { fromBinary } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import { FailureSchema } from "../../gen/taskgate/v1/receipt_pb.ts";
import type { AttemptFailure } from "../../src/model/attempt-result.ts";
import type { DeliveryKind } from "../../src/model/delivery.ts";
import { createFailure } from "../../src/model/failure.ts";
import {
  backoffMs,
  hurried,
  maxDelayMs,
  type RetryPolicy,
  retryAfterMs,
  retryPolicies,
  settlementOf,
} from "../../src/outbox/retry-policy.ts";
import type { ClaimedDelivery, Settlement } from "../../src/outbox/store.ts";
import { newReport, startMs, useStore } from "./use-store.ts";

const policy = retryPolicies.orchestra as RetryPolicy;

function claimedDelivery(kind: DeliveryKind, attempts = 1): ClaimedDelivery {
  const store = useStore();
  store.accept(newReport(kind, "a", "x"));
  const [claimed] = store.claim().claimed;
  if (claimed === undefined) {
    throw new Error("nothing was claimed");
  }
  return { ...claimed, row: { ...claimed.row, attempts } };
}

function failed(
  kind: AttemptFailure["kind"],
  options: Parameters<typeof createFailure>[2] & { isTaskOpen?: boolean } = {},
): AttemptFailure {
  const { isTaskOpen, ...rest } = options;
  const failure = createFailure(ErrorReason.UPSTREAM_UNAVAILABLE, "no", rest);
  return isTaskOpen === undefined ? { kind, failure } : { kind, failure, isTaskOpen };
}

interface Circumstances {
  claimed?: ClaimedDelivery;
  nowMs?: number;
  budgetMs?: number;
  random?: number;
  upstream?: string;
}

function decide(
  result: AttemptFailure,
  { claimed, nowMs = startMs, budgetMs = 0, random = 0, upstream = "orchestra" }: Circumstances = {},
): Settlement {
  return settlementOf(
    result,
    claimed ?? claimedDelivery("status"),
    retryPolicies[upstream] as RetryPolicy,
    nowMs,
    () => budgetMs,
    () => random,
  );
}

function dueIn(settlement: Settlement): number {
  return settlement.kind === "again" ? settlement.dueMs - startMs : Number.NaN;
}

describe("delays", () => {
  test("have full jitter between the floor and a bound that doubles up to the cap", () => {
    const backoff = { floorMs: 100, baseMs: 500, capMs: 5000 };
    const bounds = [1, 2, 3, 4, 5, 50, 5000].map((attempts) => backoffMs(backoff, attempts, () => 1));
    expect(bounds).toEqual([500, 1000, 2000, 4000, 5000, 5000, 5000]);
    expect([1, 9].map((attempts) => backoffMs(backoff, attempts, () => 0))).toEqual([100, 100]);
    expect(backoffMs(backoff, 3, () => 0.5)).toBe(1050);
  });

  test("are never under the floor, also when the bound is", () => {
    expect(backoffMs({ floorMs: 2000, baseMs: 500, capMs: 5000 }, 1, () => 1)).toBe(2000);
  });

  test.for([
    [undefined, undefined],
    [0, 0],
    [1500, 1500],
    [-1000, 0],
    [86_400_000, maxDelayMs],
  ] as const)("what the upstream asks for is cut to what is reasonable: %s", ([retryAfter, expected]) => {
    const options = retryAfter === undefined ? {} : { retryAfterMs: retryAfter };
    expect(retryAfterMs(failed("unavailable", options).failure)).toBe(expected);
  });

  test("are the longest of backoff, budget and what the upstream asks for", () => {
    expect(dueIn(decide(failed("unavailable"), { random: 1 }))).toBe(500);
    expect(dueIn(decide(failed("unavailable"), { budgetMs: 7000 }))).toBe(7000);
    expect(dueIn(decide(failed("unavailable", { retryAfterMs: 9000 }), { budgetMs: 7000 }))).toBe(9000);
    expect(dueIn(decide(failed("unavailable"), { budgetMs: 1e9 }))).toBe(maxDelayMs);
  });

  test("let an attempt in doubt be surely over before the Orchestrator gets another", () => {
    expect(dueIn(decide(failed("inDoubt"), { upstream: "orchestrator" }))).toBeGreaterThanOrEqual(2000);
  });

  test.for(Object.keys(retryPolicies))("of %s are in the order floor, base, cap", (upstream) => {
    const { unavailable, inDoubt, tooEarly } = retryPolicies[upstream] as RetryPolicy;
    for (const { floorMs, baseMs, capMs } of [unavailable, inDoubt, tooEarly]) {
      expect(floorMs).toBeGreaterThan(0);
      expect([floorMs, baseMs, capMs, maxDelayMs].toSorted((a, b) => a - b)).toEqual([
        floorMs,
        baseMs,
        capMs,
        maxDelayMs,
      ]);
    }
  });
});

describe("a failed attempt", () => {
  test.for([
    ["unavailable", false, false],
    ["unauthorized", false, false],
    ["tooEarly", false, false],
    ["inDoubt", true, false],
  ] as const)("that was %s is made again", ([kind, isInDoubt, isOwnFailure]) => {
    expect(decide(failed(kind))).toMatchObject({ kind: "again", isInDoubt, isOwnFailure });
  });

  test("in doubt with an answer is the delivery's own failure", () => {
    expect(decide(failed("inDoubt", { metadata: { http_status: "500" } }))).toMatchObject({
      kind: "again",
      isInDoubt: true,
      isOwnFailure: true,
    });
  });

  test("that nothing settles stays unconfirmed", () => {
    expect(decide(failed("unconfirmed"))).toMatchObject({ kind: "unconfirmed" });
  });

  test("tells which attempt it was", () => {
    const settlement = decide(failed("unavailable"), { claimed: claimedDelivery("status", 7) });
    const failure = "failure" in settlement ? fromBinary(FailureSchema, settlement.failure) : undefined;
    expect(failure?.metadata).toEqual({ attempt: "7" });
  });

  test.for([
    ["outcome", true, true],
    ["outcome", false, false],
    ["outcome", undefined, false],
    ["status", true, false],
  ] as const)("that was refused opens the task of an %s again: %s", ([kind, isTaskOpen, expected]) => {
    const result = failed("rejected", isTaskOpen === undefined ? {} : { isTaskOpen });
    const settlement = decide(result, { claimed: claimedDelivery(kind) });
    expect(settlement).toMatchObject({ kind: "rejected", isTaskOpen: expected });
    const failure = "failure" in settlement ? fromBinary(FailureSchema, settlement.failure) : undefined;
    expect(failure?.metadata.task_open).toBe(expected ? "true" : undefined);
  });
});

describe("a delivery that must not block its task for ever", () => {
  const own = failed("inDoubt", { metadata: { http_status: "500" } });

  test.for([
    ["status", 3, "again"],
    ["status", 4, "rejected"],
    ["output", 4, "rejected"],
    ["log", 4, "rejected"],
    ["outcome", 4, "again"],
    ["outcome", 400, "again"],
  ] as const)("steps aside after five answers of its own: %s, %i before", ([kind, ownFailures, expected]) => {
    const claimed = { ...claimedDelivery(kind), ownFailures, ownFailureMs: startMs };
    expect(decide(own, { claimed }).kind).toBe(expected);
  });

  test.for(["unavailable", "unauthorized", "inDoubt"] as const)(
    "does not step aside for what concerns the upstream: %s",
    (kind) => {
      const claimed = { ...claimedDelivery("status", 900), ownFailures: 4, ownFailureMs: startMs };
      expect(decide(failed(kind), { claimed, nowMs: startMs + 59_000 }).kind).toBe("again");
    },
  );

  const lost = failed("inDoubt");
  const refusedNow = failed("unavailable");
  test.for([
    ["an answer of its own", own, "status", 3, 59_999, "again"],
    ["an answer of its own", own, "status", 3, 60_000, "rejected"],
    ["an answer that was lost", lost, "output", 3, 59_999, "again"],
    ["an answer that was lost", lost, "output", 3, 60_000, "rejected"],
    ["too few attempts to tell", lost, "output", 2, 1e12, "again"],
    ["no connection", refusedNow, "status", 90, 1e12, "again"],
    ["an answer that was lost, of an outcome", lost, "outcome", 90, 1e12, "again"],
  ] as const)(
    "steps aside when it has kept an outcome waiting: %s",
    ([, result, kind, attempts, waitedMs, expected]) => {
      const claimed = {
        ...claimedDelivery(kind, attempts),
        outcomeCreateMs: startMs,
        ownFailureMs: startMs - 9000,
      };
      expect(decide(result, { claimed, nowMs: startMs + waitedMs }).kind).toBe(expected);
    },
  );

  test("is told as refused by the upstream", () => {
    const claimed = { ...claimedDelivery("status"), ownFailures: 4 };
    const settlement = decide(own, { claimed });
    const failure = "failure" in settlement ? fromBinary(FailureSchema, settlement.failure) : undefined;
    expect(failure?.reason).toBe(ErrorReason.UPSTREAM_REJECTED);
  });
});

describe("too early", () => {
  const tooEarly = failed("tooEarly");

  test("is no reason to refuse the first time, however long the upstream was away before", () => {
    const claimed = claimedDelivery("outcome", 90);
    expect(decide(tooEarly, { claimed, nowMs: startMs + 1e9 })).toMatchObject({
      kind: "again",
      isTooEarly: true,
    });
  });

  test.for([
    [policy.tooEarlyGraceMs, 8, "rejected"],
    [policy.tooEarlyGraceMs - 1, 8, "again"],
    [policy.tooEarlyGraceMs * 1e6, 7, "again"],
    [-1e12, 90, "again"],
  ] as const)(
    "is only so long a reason to wait: after %i ms and %i attempts",
    ([age, attempts, expected]) => {
      const claimed = { ...claimedDelivery("outcome", attempts), ownFailureMs: startMs };
      expect(decide(tooEarly, { claimed, nowMs: startMs + age }).kind).toBe(expected);
    },
  );
});

describe("a gateway that ends", () => {
  function delayOf(kind: AttemptFailure["kind"], upstream: string, askedMs?: number): number {
    const settlement = settlementOf(
      failed(kind, askedMs === undefined ? {} : { retryAfterMs: askedMs }),
      { ...claimedDelivery("outcome", 20), outcomeCreateMs: startMs },
      hurried(retryPolicies[upstream] as RetryPolicy, 20_000),
      startMs,
      () => 0,
      () => 1,
    );
    return settlement.kind === "again" ? settlement.dueMs - startMs : Number.NaN;
  }

  test.for(["orchestra", "orchestrator", "aidbox"])("tries %s at least every second", (upstream) => {
    expect([delayOf("unavailable", upstream), delayOf("tooEarly", upstream)]).toEqual([1000, 1000]);
  });

  test("waits as long as an attempt may still be running", () => {
    expect(delayOf("inDoubt", "orchestrator")).toBe(5000);
    expect(delayOf("inDoubt", "aidbox")).toBe(1000);
  });

  test("keeps a wait that it is asked for where there is time", () => {
    expect([delayOf("unavailable", "aidbox", 15_000), delayOf("unavailable", "aidbox", 21_000)]).toEqual([
      15_000, 1000,
    ]);
  });
});
