import { randomBytes } from "node:crypto";
import { ErrorReason } from "../gen/taskgate/v1/error_reason_pb.ts";
import { DeliveryState } from "../gen/taskgate/v1/receipt_pb.ts";
import type { NewDelivery } from "./model/delivery.ts";
import type { LeaseRecord } from "./model/lease.ts";
import type { LeaseBook } from "./model/lease-book.ts";
import type { Log } from "./model/log.ts";
import type { Submission, SubmitOptions } from "./model/submission.ts";
import type { Clock } from "./outbox/clock.ts";
import type { Outbox } from "./outbox/outbox.ts";
import { receiptOf } from "./outbox/receipt.ts";
import type { DeliveryRow } from "./outbox/store.ts";
import type { WorkerStore } from "./outbox/worker-store.ts";
import type { StreamDeps } from "./rpc/stream-deps.ts";
import { createLeaseBook, type LeaseStore } from "./session/lease-book.ts";
import { createSessionIds, type SessionIds } from "./session/session-ids.ts";

export interface GatewayLeasesDeps {
  store: WorkerStore;
  outbox: () => Outbox;
  clock: Clock;
  steadyNow: () => number;
  leaseDurationMs: number;
  /** How many leases may be held at once. */
  maxLeases: number;
  /** What an upstream is told of a lost worker, by the upstream's name. */
  prepareLost: Readonly<Record<string, (lease: LeaseRecord, why: string) => NewDelivery>>;
  /** A lease has run out. */
  onExpired?: ((lease: LeaseRecord) => void) | undefined;
  log: Log;
}

/** Leases and the outbox, joined. */
export interface GatewayLeases {
  book: LeaseBook;
  ids: SessionIds;
  /** Takes a report of a session that may speak for the task; the report is a beat, too. */
  submit(delivery: NewDelivery, options: SubmitOptions): Promise<Submission>;
  /** A delivery has changed: an outcome ends a lease, or gives it back. */
  onChange(row: DeliveryRow): void;
  acceptedRequests(operation: string, caller: string, sessionId: string): Promise<string[]>;
  outcomeEnd: StreamDeps["outcomeEnd"];
}

const maxListedRequests = 1000;
const pageRows = 1000;

/** Joins leases and the outbox: who is silent for too long is reported through it. */
export function joinLeases(deps: GatewayLeasesDeps): GatewayLeases {
  const { store, clock, log } = deps;
  const onUnexpectedError = (error: unknown) => log.error("the leases failed unexpectedly", error);
  const ids = createSessionIds(store.sessionKey, (length) =>
    randomBytes(length).toString("base64url").slice(0, length),
  );
  const book = createLeaseBook({
    store: leaseStoreOf(store, clock),
    ids,
    durationMs: deps.leaseDurationMs,
    maxLeases: deps.maxLeases,
    now: clock.now,
    steadyNow: deps.steadyNow,
    setTimer: clock.setTimer,
    onLost,
    onExpired: deps.onExpired,
    onUnexpectedError,
  });

  // It is asked again as long as there is no room for what it says.
  const told = new WeakSet<LeaseRecord>();
  async function onLost(lease: LeaseRecord, lastBeatMs: number): Promise<boolean> {
    const { task, caller } = lease;
    const last = new Date(lastBeatMs).toISOString();
    const why = `the worker is lost: no heartbeat for ${deps.leaseDurationMs / 1000} s, the last one came at ${last}`;
    if (!told.has(lease)) {
      told.add(lease);
      log.warn(why, { upstream: task.upstream, task: task.taskId });
    }
    const prepare = deps.prepareLost[task.upstream];
    if (prepare === undefined) {
      throw new Error(`nobody knows how to say ${task.upstream} that a task is lost`);
    }
    const submission = await deps.outbox().submit(prepare(lease, why), {
      operation: "LeaseExpired",
      caller,
      waitFor: "stored",
      requestId: "",
      sessionId: "",
      isByGateway: true,
      timeoutMs: () => undefined,
      signal: new AbortController().signal,
    });
    // Whatever else it is refused for: the task has its outcome.
    return submission.kind === "accepted" || !waitsForRoom.has(submission.failure.reason);
  }

  return {
    book,
    ids,
    async submit(delivery, options) {
      const failure = book.admit(delivery, options.caller, options.sessionId);
      return failure === undefined ? deps.outbox().submit(delivery, options) : { kind: "failed", failure };
    },
    onChange(row) {
      if (row.kind !== "outcome" || row.isByGateway) {
        return;
      }
      if (row.state === DeliveryState.STORED) {
        book.ended(row, ErrorReason.TASK_FINISHED, row.caller);
      } else if (row.state === DeliveryState.REJECTED || row.state === DeliveryState.DISCARDED) {
        book.reopened(row).catch(onUnexpectedError);
      }
    },
    acceptedRequests: (operation, caller, sessionId) =>
      store.run({ type: "acceptedRequests", operation, caller, sessionId, limit: maxListedRequests }),
    async outcomeEnd({ upstream, key }, session, signal) {
      const outcome = await store.run({ type: "outcome", upstream, key, ...session });
      if (outcome === undefined) {
        return undefined;
      }
      const row = await deps.outbox().waitForEnd(outcome.row, signal);
      return { requestId: outcome.requestId, receipt: receiptOf(row) };
    },
  };
}

const waitsForRoom: ReadonlySet<ErrorReason> = new Set([ErrorReason.OUTBOX_FULL, ErrorReason.INTERNAL]);

function leaseStoreOf(store: WorkerStore, { now }: Clock): LeaseStore {
  return {
    begin: (lease) => store.run({ type: "beginLease", lease, nowMs: now() }),
    async end({ task: { upstream, key }, sessionId }) {
      await store.run({ type: "endLease", upstream, key, sessionId, nowMs: now() });
    },
    standing: ({ upstream, key }) => store.run({ type: "task", upstream, key }),
    find: ({ upstream, key }) => store.run({ type: "lease", upstream, key }),
    async *list() {
      let afterId: number | null = 0;
      while (afterId !== null) {
        const { leases, lastId }: { leases: LeaseRecord[]; lastId: number | null } = await store.run({
          type: "leases",
          afterId,
          limit: pageRows,
        });
        yield leases;
        afterId = lastId;
      }
    },
  };
}
