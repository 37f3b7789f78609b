import { DatabaseSync } from "node:sqlite";
import { toBinary } from "@bufbuild/protobuf";
import { onTestFinished } from "vitest";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import { FailureSchema } from "../../gen/taskgate/v1/receipt_pb.ts";
import type { DeliveryKind, NewDelivery } from "../../src/model/delivery.ts";
import type { DeliveryFilter } from "../../src/model/delivery-desk.ts";
import { createFailure } from "../../src/model/failure.ts";
import type { Quota } from "../../src/outbox/lanes.ts";
import { migrate } from "../../src/outbox/schema.ts";
import { createSqliteStore, type SqliteStore } from "../../src/outbox/sqlite-store.ts";
import type {
  AcceptOp,
  AcceptResult,
  ClaimOp,
  ClaimResult,
  DeliveryRow,
  ListResult,
  ResultOf,
  Settlement,
  SettleOp,
  SettleResult,
  StoreOp,
} from "../../src/outbox/store.ts";

export const ampleQuota: Quota = { maxRows: 100_000, maxBytes: 1e9, outcomeReserve: 0.2 };

/** When the tests begin. */
export const startMs = Date.UTC(2026, 0, 1);

/** A failure as it is stored. */
export const someFailure = toBinary(
  FailureSchema,
  createFailure(ErrorReason.UPSTREAM_UNAVAILABLE, "it does not answer"),
);

/** A report of a task, attempt 0. */
export function newReport(
  kind: DeliveryKind,
  taskId: string,
  body: string,
  change: Partial<NewDelivery> = {},
): NewDelivery {
  return {
    upstream: "orchestra",
    lane: "orchestra",
    key: `${taskId}/0`,
    taskId,
    attempt: "0",
    kind,
    outcomeTag: kind === "outcome" ? body : "",
    target: "https://webhook.test/",
    body,
    ...change,
  };
}

/** The operation that stores a report. */
export function acceptOf(delivery: NewDelivery, change: Partial<Omit<AcceptOp, "type">> = {}): AcceptOp {
  return {
    type: "accept",
    delivery,
    operation: "UpdateTask",
    caller: "alice",
    isByGateway: false,
    requestId: "",
    contentHash: "",
    trace: null,
    nowMs: startMs,
    mayLeave: false,
    ...change,
  };
}

/** A store on a database in memory, one operation at a time. */
export interface StoreUnderTest {
  readonly db: DatabaseSync;
  run<Op extends StoreOp>(op: Op): ResultOf<Op>;
  runAll: SqliteStore["runAll"];
  recall: SqliteStore["recall"];
  /** Stores a report; fails the test when it is not stored. */
  accept(delivery: NewDelivery, change?: Partial<Omit<AcceptOp, "type">>): DeliveryRow;
  tryAccept(delivery: NewDelivery, change?: Partial<Omit<AcceptOp, "type">>): AcceptResult;
  claim(change?: Partial<Omit<ClaimOp, "type">>): ClaimResult;
  /** The bodies of what is claimed. */
  claimBodies(change?: Partial<Omit<ClaimOp, "type">>): string[];
  settle(seq: number, settlement: Settlement, change?: Partial<Omit<SettleOp, "type">>): SettleResult;
  get(seq: number): DeliveryRow;
  /** All that fit, page by page. */
  list(filter?: DeliveryFilter): DeliveryRow[];
  move(type: "retry" | "discard", seq: number): ResultOf<{ type: "retry"; seq: number; nowMs: number }>;
  /** As after a crash. */
  reopen(nowMs?: number): void;
}

export function useStore(quota: Quota = ampleQuota): StoreUnderTest {
  const db = new DatabaseSync(":memory:", { enableForeignKeyConstraints: false });
  onTestFinished(() => db.close());
  migrate(db);
  let store = createSqliteStore(db, quota, startMs, 1234);

  function run<Op extends StoreOp>(op: Op): ResultOf<Op> {
    return store.runAll([op])[0] as ResultOf<Op>;
  }
  function claim(change: Partial<Omit<ClaimOp, "type">> = {}): ClaimResult {
    return run({
      type: "claim",
      lane: "orchestra",
      limit: 100,
      nowMs: startMs,
      maxDelayMs: 300_000,
      supersede: false,
      ...change,
    } satisfies ClaimOp);
  }

  return {
    db,
    run,
    runAll: (ops) => store.runAll(ops),
    recall: (op) => store.recall(op),
    tryAccept: (delivery, change) => run(acceptOf(delivery, change)),
    accept(delivery, change) {
      const accepted = run(acceptOf(delivery, change));
      if (accepted.kind !== "stored") {
        throw new Error(`not stored: ${JSON.stringify(accepted)}`);
      }
      return accepted.row;
    },
    claim,
    claimBodies: (change) => claim(change).claimed.map(({ body }) => body),
    settle: (seq, settlement, change = {}) =>
      run({ type: "settle", seq, settlement, nowMs: startMs, claimNext: false, supersede: false, ...change }),
    get(seq) {
      const row = run({ type: "get", seq });
      if (row === undefined) {
        throw new Error(`there is no delivery ${seq}`);
      }
      return row;
    },
    list(filter = {}) {
      const found: DeliveryRow[] = [];
      let afterSeq: number | null = 0;
      while (afterSeq !== null) {
        const { rows, lastSeq }: ListResult = run({ type: "list", filter, afterSeq, limit: 100 });
        found.push(...rows);
        afterSeq = lastSeq;
      }
      return found;
    },
    move: (type, seq) => run({ type, seq, nowMs: startMs }),
    reopen(nowMs = startMs) {
      store = createSqliteStore(db, quota, nowMs, 4321);
    },
  };
}

export const delivered: Settlement = { kind: "delivered", answer: "" };
export const rejected: Settlement = { kind: "rejected", failure: someFailure, isTaskOpen: false };
export const rejectedAndOpen: Settlement = { kind: "rejected", failure: someFailure, isTaskOpen: true };
export const unconfirmed: Settlement = { kind: "unconfirmed", failure: someFailure };

/** An attempt that failed, and the next one is due then. */
export function again(
  dueMs: number,
  { isInDoubt = false, isOwnFailure = false } = {},
): Extract<Settlement, { kind: "again" }> {
  return { kind: "again", failure: someFailure, dueMs, isInDoubt, isOwnFailure };
}
