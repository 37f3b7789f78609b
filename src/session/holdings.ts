import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import type { Task } from "../../gen/taskgate/v1/executor_pb.ts";
import type { Failure } from "../../gen/taskgate/v1/receipt_pb.ts";
import { Directive } from "../../gen/taskgate/v1/session_pb.ts";
import type { Attempt, AttemptLease, CallResult } from "../model/call-result.ts";
import type { LeasedTask } from "../model/lease.ts";
import type { LeaseBook, LeaseListener } from "../model/lease-book.ts";
import { taskEndings } from "../model/task-endings.ts";
import type { StoppedAttempt, TaskBeats } from "../model/work-pool.ts";
import { type Entry, hasBegun, keyOf, newEntry, type Offer, type Worker } from "./pooled-worker.ts";
import { failed, failureOf } from "./work-failures.ts";
import { takeBackMs, type WorkShare } from "./work-share.ts";

export interface HoldingsDeps {
  book: LeaseBook;
  beats: TaskBeats;
  share: () => Pick<WorkShare, "count" | "settle">;
  /** Begins an attempt at the upstream. */
  start: (attempt: Attempt) => Promise<CallResult<Task>>;
  /** The attempt as a task that is leased. */
  taskOf: (attempt: Attempt) => LeasedTask;
  /** The wall clock. */
  now: () => number;
  /** A clock that nobody sets. */
  steadyNow: () => number;
  setTimer: (run: () => void, delayMs: number) => () => void;
  onUnexpectedError: (error: unknown) => void;
}

/** What workers have. */
export type Holdings = ReturnType<typeof createHoldings>;

const startRetryMs = 250;

/** Creates the keeping of what workers have: given, begun, held by a lease, and over. */
export function createHoldings(deps: HoldingsDeps) {
  const { book, beats, share, now, steadyNow, setTimer } = deps;
  const holders = new Map<string, { worker: Worker; entry: Entry }>();

  function add(worker: Worker, entry: Entry): void {
    worker.entries.set(keyOf(entry.attempt), entry);
    holders.set(entry.attempt.id, { worker, entry });
  }

  function takeUp(entry: Entry): void {
    entry.cancelTimer();
    entry.cancelTimer = () => undefined;
  }

  function withdraw(worker: Worker, entry: Entry, cause: ErrorReason): boolean {
    const key = keyOf(entry.attempt);
    if (worker.entries.get(key) !== entry) {
      return false;
    }
    takeUp(entry);
    worker.entries.delete(key);
    if (holders.get(entry.attempt.id)?.entry === entry) {
      holders.delete(entry.attempt.id);
    }
    beats.forget(entry.attempt);
    worker.gone.set(key, cause);
    return true;
  }

  function withdrawOffers(worker: Worker): Offer[] {
    return Array.from(worker.entries.values()).flatMap((entry) => {
      const { offer: offered } = entry;
      const isOffered = offered !== undefined && entry.starting === undefined;
      return isOffered && withdraw(worker, entry, ErrorReason.LEASE_EXPIRED) ? [offered] : [];
    });
  }

  // The upstream says that an attempt is over.
  function over(worker: Worker, entry: Entry, cause: ErrorReason): void {
    if (entry.starting !== undefined) {
      entry.overCause ??= cause;
    } else if (entry.attached !== undefined) {
      book.over(deps.taskOf(entry.attempt), cause).catch(deps.onUnexpectedError);
    } else {
      end(worker, entry, cause);
    }
  }

  function end(worker: Worker, entry: Entry, cause: ErrorReason): void {
    if (!withdraw(worker, entry, cause)) {
      return;
    }
    // Of its own outcome it hears by a receipt.
    if (cause !== ErrorReason.TASK_FINISHED || !worker.ending.has(keyOf(entry.attempt))) {
      worker.listener?.onDirective(Directive.CANCEL, cause, entry.attempt);
    }
    share().settle(worker);
  }

  function attach(worker: Worker, entry: Entry): boolean {
    const listener: LeaseListener = {
      onDirective(directive, cause) {
        if (directive === Directive.CANCEL) {
          onLeaseOver(cause);
        }
      },
      onSuperseded: () => onLeaseOver(ErrorReason.LEASE_SUPERSEDED),
    };
    function onLeaseOver(cause: ErrorReason): void {
      if (entry.starting === undefined) {
        end(worker, entry, cause);
      } else {
        entry.overCause ??= cause;
      }
    }
    entry.offer = undefined;
    entry.attached = book.attach(deps.taskOf(entry.attempt), worker.sessionId, listener);
    return entry.attached !== undefined;
  }

  /** The session may hold it since before the gateway started, or have it back. */
  function find(worker: Worker, attempt: Attempt): Entry | undefined {
    const known = worker.entries.get(keyOf(attempt));
    if (known !== undefined) {
      return known;
    }
    const entry = newEntry({ id: attempt.id, execId: attempt.execId });
    if (!attach(worker, entry)) {
      return undefined;
    }
    entry.isDoubtful = true;
    add(worker, entry);
    share().count(worker);
    return entry;
  }

  const termsOf = ({ caller, terms }: Worker) => ({ caller, onLost: terms.onLost, lostPayload: "" });

  // The lease is on the disk before Aidbox is asked: whatever happens meanwhile, somebody
  // remembers that the task may have begun.
  async function begin(worker: Worker, entry: Entry, offered: Offer): Promise<CallResult<Task | undefined>> {
    const task = deps.taskOf(entry.attempt);
    const opened = await book.hold(task, termsOf(worker), worker.sessionId);
    if (opened.kind !== "open" || !attach(worker, entry)) {
      const failure =
        opened.kind === "failed"
          ? opened.failure
          : failureOf(ErrorReason.LEASE_EXPIRED, "the task was over before it had begun", entry.attempt);
      withdraw(worker, entry, failure.reason);
      share().settle(worker);
      return { kind: "failed", failure };
    }
    const stopBeating = beatWhileStarting(entry);
    const started = await startUpstream(entry.attempt, offered).finally(() => {
      stopBeating();
      entry.starting = undefined;
    });
    const cause = started.kind === "failed" ? started.failure.reason : entry.overCause;
    if (cause === undefined) {
      entry.attached?.beat();
      return started;
    }
    if (started.kind === "failed") {
      withdraw(worker, entry, cause);
      share().settle(worker);
    } else {
      end(worker, entry, cause);
    }
    // Where nobody knows whether it has begun, it is the lease that ends it.
    if (cause !== ErrorReason.UPSTREAM_UNCERTAIN) {
      await book.over(task, cause);
    }
    return started.kind === "failed"
      ? started
      : failed(cause, "the task was over before it had begun", entry.attempt);
  }

  // A worker that starts what it has by a lease has not heard that it has begun.
  async function beginAgain(worker: Worker, entry: Entry): Promise<CallResult<Task | undefined>> {
    const stopBeating = beatWhileStarting(entry);
    const started = await deps.start(entry.attempt).finally(() => {
      stopBeating();
      entry.starting = undefined;
    });
    const cause = started.kind === "failed" ? started.failure.reason : undefined;
    if (cause === undefined) {
      entry.isDoubtful = false;
    } else if (taskEndings.has(cause)) {
      over(worker, entry, cause);
    }
    return started;
  }

  // It is Aidbox that is waited for, not the worker.
  function beatWhileStarting(entry: Entry): () => void {
    const beat = () => {
      entry.attached?.beat();
      cancel = setTimer(beat, book.durationMs / 3);
    };
    let cancel = setTimer(beat, book.durationMs / 3);
    return () => cancel();
  }

  async function startUpstream(attempt: Attempt, { takenMs }: Offer): Promise<CallResult<Task>> {
    for (;;) {
      const result = await deps.start(attempt);
      const isSurelyNotTaken =
        result.kind === "failed" && result.failure.reason === ErrorReason.UPSTREAM_UNAVAILABLE;
      if (!isSurelyNotTaken || steadyNow() - takenMs + startRetryMs > takeBackMs) {
        return result;
      }
      await new Promise<void>((resolve) => setTimer(resolve, startRetryMs));
    }
  }

  /** Why a session does not hold an attempt; undefined: it does, as the store knows. */
  async function whyNotHeld(worker: Worker, attempt: Attempt): Promise<ErrorReason | undefined> {
    // Another frame may have asked meanwhile.
    if (find(worker, attempt) !== undefined) {
      return undefined;
    }
    const holder = holders.get(attempt.id);
    if (holder !== undefined && holder.worker.caller === worker.caller) {
      return ErrorReason.LEASE_SUPERSEDED;
    }
    const gone = worker.gone.get(keyOf(attempt));
    // What the upstream has said of it is not in the store, which would give it back.
    if (gone !== undefined && gone !== ErrorReason.LEASE_EXPIRED && taskEndings.has(gone)) {
      return gone;
    }
    const result = await book.beat(deps.taskOf(attempt), termsOf(worker), worker.sessionId);
    if (result.kind === "failed" || result.answer.directive === Directive.RECONNECT) {
      return gone ?? ErrorReason.TASK_UNKNOWN;
    }
    if (result.answer.directive === Directive.CANCEL) {
      return gone ?? result.answer.cause;
    }
    find(worker, attempt);
    share().settle(worker);
    return undefined;
  }

  async function findOrFail(worker: Worker, attempt: Attempt): Promise<Entry | Failure> {
    const cause = await whyNotHeld(worker, attempt);
    const entry = cause === undefined ? find(worker, attempt) : undefined;
    return (
      entry ?? failureOf(cause ?? ErrorReason.LEASE_EXPIRED, "the worker does not hold the task", attempt)
    );
  }

  function onNotified(worker: Worker, entry: Entry, result: CallResult<AttemptLease>): void {
    if (result.kind === "ok") {
      entry.isDoubtful = false;
      entry.upstreamExpireMs = result.value.leaseExpireMs;
    } else if (taskEndings.has(result.failure.reason) && worker.entries.get(keyOf(entry.attempt)) === entry) {
      over(worker, entry, result.failure.reason);
    }
  }

  function beatFor(worker: Worker, entry: Entry): number | undefined {
    const answer = hasBegun(entry) ? entry.attached?.beat() : undefined;
    if (answer !== undefined) {
      beats
        .beat(entry.attempt, "")
        .then((result) => onNotified(worker, entry, result))
        .catch(deps.onUnexpectedError);
    }
    const { upstreamExpireMs = Number.POSITIVE_INFINITY } = entry;
    return upstreamExpireMs > now() ? upstreamExpireMs : undefined;
  }

  async function explain(worker: Worker, attempts: readonly Attempt[]): Promise<StoppedAttempt[]> {
    const stopped: StoppedAttempt[] = [];
    for (const { id, execId } of attempts) {
      const attempt = { id, execId };
      const cause = await whyNotHeld(worker, attempt);
      if (cause !== undefined) {
        stopped.push({ attempt, cause });
      }
    }
    return stopped;
  }

  return {
    add,
    withdraw,
    withdrawOffers,
    over,
    find,
    findOrFail,
    beatFor,
    onNotified,
    explain,
    holderOf: (taskId: string) => holders.get(taskId),

    /** Begins what was given; once, however often it is asked for. */
    start(worker: Worker, entry: Entry, requestId: string): Promise<CallResult<Task | undefined>> {
      if (entry.starting === undefined && entry.offer !== undefined) {
        takeUp(entry);
        entry.startRequestId = requestId;
        entry.starting = begin(worker, entry, entry.offer);
        share().settle(worker);
      } else if (entry.starting === undefined && entry.isDoubtful) {
        entry.startRequestId = requestId;
        entry.starting = beginAgain(worker, entry);
      }
      return entry.starting ?? Promise.resolve({ kind: "ok", value: undefined });
    },
  };
}
