import type { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import type { Directive } from "../../gen/taskgate/v1/session_pb.ts";
import { reasonName } from "../../src/model/failure.ts";
import type { LeasedTask, LeaseRecord, LeaseTerms, TaskStanding } from "../../src/model/lease.ts";
import type { LeaseBook, LeaseListener } from "../../src/model/lease-book.ts";
import { createLeaseBook, type LeaseStore } from "../../src/session/lease-book.ts";
import { createSessionIds } from "../../src/session/session-ids.ts";
import { type FakeClock, useFakeClock } from "../outbox/fake-clock.ts";

export const durationMs = 10_000;

/** A store of leases in memory, which outlives the books on it. */
export interface FakeLeaseStore extends LeaseStore {
  /** While true, nothing can be written. */
  isBroken: boolean;
  /** While set, a begin waits for it before it is written. */
  gate: Promise<void> | undefined;
  /** Stores an outcome, as the outbox does. */
  setOutcome(task: LeasedTask, by: TaskStanding["outcomeBy"]): void;
  /** The sessions that would be held after a restart. */
  held(): string[];
}

interface Row {
  record: LeaseRecord;
  isHeld: boolean;
  outcomeBy: TaskStanding["outcomeBy"];
}

export function createFakeLeaseStore(): FakeLeaseStore {
  const rows = new Map<string, Row>();
  const nameOf = ({ upstream, key }: Pick<LeasedTask, "upstream" | "key">) => `${upstream}/${key}`;
  const standingOf = ({ record, outcomeBy }: Row): TaskStanding => ({
    caller: record.caller,
    outcomeBy,
    sessionId: record.sessionId,
  });
  const isListed = ({ isHeld, outcomeBy }: Row) => isHeld && outcomeBy === "nobody";

  const store: FakeLeaseStore = {
    isBroken: false,
    gate: undefined,
    setOutcome(task, by) {
      const row = rows.get(nameOf(task));
      if (row !== undefined) {
        row.outcomeBy = by;
      }
    },
    held: () => [...rows.values()].flatMap((row) => (isListed(row) ? [row.record.sessionId] : [])),
    async begin(record) {
      await store.gate;
      if (store.isBroken) {
        throw new Error("the disk is gone");
      }
      const before = rows.get(nameOf(record.task));
      if (before !== undefined && (before.record.caller !== record.caller || before.outcomeBy !== "nobody")) {
        return { kind: "refused", standing: standingOf(before) };
      }
      rows.set(nameOf(record.task), { record, isHeld: true, outcomeBy: "nobody" });
      return { kind: "begun" };
    },
    async end({ task, sessionId }) {
      const row = rows.get(nameOf(task));
      if (row?.record.sessionId === sessionId) {
        row.isHeld = false;
      }
    },
    async standing(task) {
      const row = rows.get(nameOf(task));
      return row && standingOf(row);
    },
    async find(task) {
      const row = rows.get(nameOf(task));
      return row !== undefined && isListed(row) ? row.record : undefined;
    },
    async *list() {
      for (const row of rows.values()) {
        yield isListed(row) ? [row.record] : [];
      }
    },
  };
  return store;
}

export interface UsedLeaseBook {
  book: LeaseBook;
  clock: FakeClock;
  store: FakeLeaseStore;
  /** Who was said to be lost, in the order in which it was said, refused attempts included. */
  lost: { taskId: string; sessionId: string; lastBeatMs: number; atMs: number }[];
  errors: unknown[];
  /** What is said of a lost worker: whether it is stored, or how that goes wrong. */
  onLost: { answer: () => boolean | Promise<boolean> };
}

/** A book of leases on a clock that stands still. It watches unless it is not to start. */
export async function useLeaseBook(
  options: {
    clock?: FakeClock;
    store?: FakeLeaseStore;
    maxLeases?: number;
    create?: typeof createLeaseBook;
    isStarted?: boolean;
  } = {},
): Promise<UsedLeaseBook> {
  const { clock = useFakeClock(), store = createFakeLeaseStore(), maxLeases = 1000 } = options;
  const lost: UsedLeaseBook["lost"] = [];
  const errors: unknown[] = [];
  const onLost: UsedLeaseBook["onLost"] = { answer: () => true };
  let made = 0;
  const book = (options.create ?? createLeaseBook)({
    store,
    ids: createSessionIds("key", (length) => {
      made += 1;
      return `${clock.now()}${made}`.padStart(length, "-").slice(-length);
    }),
    durationMs,
    maxLeases,
    now: clock.now,
    steadyNow: clock.steadyNow,
    setTimer: clock.setTimer,
    async onLost({ task, sessionId }, lastBeatMs) {
      lost.push({ taskId: task.taskId, sessionId, lastBeatMs, atMs: clock.steadyNow() });
      const isDone = await onLost.answer();
      if (isDone) {
        store.setOutcome(task, "gateway");
      }
      return isDone;
    },
    onUnexpectedError: (error) => errors.push(error),
  });
  if (options.isStarted !== false) {
    await book.start();
  }
  return { book, clock, store, lost, errors, onLost };
}

export function taskNamed(name: string): LeasedTask {
  return { upstream: "orchestra", lane: "lane", key: name, taskId: name, attempt: "0" };
}

export const terms: LeaseTerms = { caller: "ann", onLost: "fail", lostPayload: "" };

/** Opens a task that must open, and returns its session. */
export async function openTask(
  book: LeaseBook,
  task: LeasedTask,
  sessionId = "",
  chosen: Partial<LeaseTerms> = {},
): Promise<string> {
  const opened = await book.open(task, { ...terms, ...chosen }, sessionId);
  if (opened.kind !== "open") {
    throw new Error(`${task.taskId} did not open: ${JSON.stringify(opened)}`);
  }
  return opened.sessionId;
}

/** A stream that only listens. */
export function createEar() {
  const heard: (string | [Directive, ErrorReason])[] = [];
  const listener: LeaseListener = {
    onDirective: (directive, cause) => heard.push([directive, cause]),
    onSuperseded: () => heard.push("superseded"),
  };
  return { heard, listener };
}

/** A failure in one word. */
export function reasonOf(result: { kind: string; failure?: { reason: ErrorReason } }): string {
  return result.failure === undefined ? result.kind : reasonName(result.failure.reason);
}
