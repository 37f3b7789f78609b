import { Code } from "@connectrpc/connect";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import type { Task } from "../../gen/taskgate/v1/executor_pb.ts";
import type { Failure } from "../../gen/taskgate/v1/receipt_pb.ts";
import { Directive } from "../../gen/taskgate/v1/session_pb.ts";
import type { Attempt, AttemptLease, CallResult } from "../model/call-result.ts";
import { createFailure, drainingFailure } from "../model/failure.ts";
import type { LeasedTask } from "../model/lease.ts";
import type { Attached, LeaseBook, LeaseListener } from "../model/lease-book.ts";
import type {
  PooledWorker,
  StoppedAttempt,
  TaskBeats,
  WorkDefinitions,
  WorkerListener,
  WorkPool,
  WorkSubscription,
  WorkTerms,
} from "../model/work-pool.ts";
import { workerSessionName } from "./lease-book.ts";
import { tooManySessions } from "./lease-failures.ts";
import { createPauseDetector } from "./pause-detector.ts";
import { createPollGroup, type PollGroup, type PollGroupDeps } from "./poll-group.ts";
import { createPollPlaces } from "./poll-places.ts";
import type { SessionIds } from "./session-ids.ts";

export interface WorkPoolDeps {
  book: LeaseBook;
  ids: SessionIds;
  beats: TaskBeats;
  longPoll: PollGroupDeps["longPoll"];
  /** Begins an attempt at the upstream. */
  start: (attempt: Attempt) => Promise<CallResult<Task>>;
  /** The attempt as a task that is leased. */
  taskOf: (attempt: Attempt) => LeasedTask;
  maxWorkers: number;
  /** The wall clock. */
  now: () => number;
  /** A clock that nobody sets. */
  steadyNow: () => number;
  setTimer: (run: () => void, delayMs: number) => () => void;
  random: () => number;
  onRefused: (definitions: WorkDefinitions, failure: Failure) => void;
  onUnexpectedError: (error: unknown) => void;
}

// A task that was taken and has no holder yet.
interface Offer {
  readonly task: Task;
  readonly group: Group;
  /** When it came. Steady clock. */
  readonly takenMs: number;
  /** The sessions that had their chance. */
  readonly shunned: Set<string>;
}

// A task that counts against a worker's credits.
interface Entry {
  readonly attempt: Attempt;
  /** Until it has begun. */
  offer: Offer | undefined;
  cancelTimer: () => void;
  starting: Promise<CallResult<Task | undefined>> | undefined;
  startRequestId: string;
  /** Once it has begun. */
  attached: Attached | undefined;
  /** When the upstream takes it back. Wall clock. */
  upstreamExpireMs: number | undefined;
  /** It was over while it began. */
  overCause: ErrorReason | undefined;
}

interface Worker {
  readonly sessionId: string;
  readonly caller: string;
  readonly createMs: number;
  terms: WorkTerms;
  group: Group;
  readonly entries: Map<string, Entry>;
  /** Those whose outcome is on its way. */
  readonly ending: Map<string, number>;
  /** What it had and has no more, and why; the oldest first. */
  readonly gone: Map<string, ErrorReason>;
  listener: WorkerListener | undefined;
  isOpen: boolean;
  lastBeatMs: number;
  dueMs: number;
  /** How many places it is counted with. */
  free: number;
}

interface Group {
  readonly name: string;
  readonly caller: string;
  readonly definitions: WorkDefinitions;
  readonly workers: Set<Worker>;
  /** Those that have places: whose turn is next comes first. */
  readonly ring: Set<Worker>;
  free: number;
  polls: PollGroup;
}

// FACT: Aidbox takes back what was not started within ten seconds. Whoever is given a
// task has all of `startTimeoutMs`, and a second one its chance after a first that
// did not use it.
const takeBackMs = 10_000;
const startTimeoutMs = 4000;
const giveUntilMs = takeBackMs - startTimeoutMs - 1000;
const startRetryMs = 250;
const tickMs = 1000;
const maxPauseMs = 1000;
const maxGone = 1000;
const maxTasksPerWorker = 1000;
// Fewer than there are connections for it.
const maxPolls = 60;

/**
 * Creates the pool of workers. Tasks are taken only for places that workers have, go
 * to each in turn, the oldest first, and stay with a worker until their outcome is
 * accepted, they are given up, or were not started in time. Workers of one caller
 * that take the same definitions share what is taken for them; callers share nothing.
 */
export function createWorkPool(deps: WorkPoolDeps): WorkPool {
  const { book, ids, beats, now, steadyNow, setTimer } = deps;
  const workers = new Map<string, Worker>();
  const groups = new Map<string, Group>();
  const holders = new Map<string, { worker: Worker; entry: Entry }>();
  const stock = new Set<Offer>();
  const places = createPollPlaces(maxPolls);
  const pause = createPauseDetector(steadyNow, now, maxPauseMs);
  const changed = new Set<Group>();
  let isDraining = false;
  let isStopped = false;
  let isTaking = false;
  let cancelTick: (() => void) | undefined;

  // --- places ---

  const isPresent = (worker: Worker) =>
    !isDraining && worker.listener !== undefined && worker.isOpen && worker.dueMs > steadyNow();

  function takenOf({ entries, ending }: Worker): number {
    let taken = entries.size;
    for (const key of ending.keys()) {
      taken += entries.has(key) ? 0 : 1;
    }
    return taken;
  }

  function count(worker: Worker): void {
    const { group, terms } = worker;
    const free = isPresent(worker)
      ? Math.max(0, Math.min(terms.maxInFlight, maxTasksPerWorker) - takenOf(worker))
      : 0;
    group.free += free - worker.free;
    worker.free = free;
    if (free > 0) {
      group.ring.add(worker);
    } else {
      group.ring.delete(worker);
    }
    changed.add(group);
  }

  /** After any change: what waits is given away, and what is missing is asked for. */
  function settle(...ofWorkers: readonly Worker[]): void {
    for (const worker of ofWorkers) {
      count(worker);
    }
    for (const offer of stock) {
      if (!isFresh(offer) || give(offer)) {
        stock.delete(offer);
      }
    }
    if (!isTaking) {
      for (const group of changed) {
        changed.delete(group);
        group.polls.setFree(group.free);
      }
    }
    if (isDraining) {
      for (const worker of ofWorkers) {
        if (worker.entries.size === 0 && worker.isOpen) {
          worker.listener?.onDrained();
        }
      }
    }
  }

  function groupOf({ caller, definitions }: WorkSubscription): Group {
    const taskDefinitions = [...new Set(definitions.taskDefinitions)].sort();
    const workflowDefinitions = [...new Set(definitions.workflowDefinitions)].sort();
    const name = JSON.stringify([caller, taskDefinitions, workflowDefinitions]);
    const known = groups.get(name);
    if (known !== undefined) {
      return known;
    }
    const own: WorkDefinitions = { taskDefinitions, workflowDefinitions };
    const group: Group = {
      name,
      caller,
      definitions: own,
      workers: new Set(),
      ring: new Set(),
      free: 0,
      polls: createPollGroup(own, {
        ...deps,
        places,
        onTasks: (tasks) => take(group, tasks),
        onRefused(failure) {
          deps.onRefused(own, failure);
          for (const { listener } of group.workers) {
            listener?.onRefused(failure);
          }
        },
      }),
    };
    groups.set(name, group);
    return group;
  }

  function leaveGroup(worker: Worker): void {
    const { group } = worker;
    group.workers.delete(worker);
    group.ring.delete(worker);
    group.free -= worker.free;
    worker.free = 0;
    if (group.workers.size === 0) {
      groups.delete(group.name);
      group.polls.close();
    }
  }

  // --- tasks on their way to a worker ---

  const isFresh = (offer: Offer) => !isDraining && steadyNow() - offer.takenMs <= giveUntilMs;

  function take(group: Group, tasks: readonly Task[]): void {
    const takenMs = steadyNow();
    // A place that comes free by a task may be the place of the next one.
    isTaking = true;
    for (const task of tasks) {
      const before = holders.get(task.id);
      if (before !== undefined) {
        // The upstream has taken it back from whoever had it.
        over(before.worker, before.entry, ErrorReason.LEASE_SUPERSEDED);
      }
      offer({ task, group, takenMs, shunned: new Set() });
    }
    isTaking = false;
    settle();
  }

  function offer(offered: Offer): void {
    if (isFresh(offered) && !give(offered)) {
      stock.add(offered);
    }
  }

  function give(offered: Offer): boolean {
    for (const group of takersOf(offered)) {
      for (const worker of group.ring) {
        if (!offered.shunned.has(worker.sessionId)) {
          push(worker, offered);
          return true;
        }
      }
    }
    return false;
  }

  function* takersOf({ task, group }: Offer): Iterable<Group> {
    yield group;
    for (const other of groups.values()) {
      if (other !== group && other.caller === group.caller && covers(other.definitions, task)) {
        yield other;
      }
    }
  }

  function push(worker: Worker, offered: Offer): void {
    const { id, execId } = offered.task;
    const entry = newEntry({ id, execId }, offered);
    entry.cancelTimer = setTimer(() => {
      withdraw(worker, entry, ErrorReason.LEASE_EXPIRED);
      offered.shunned.add(worker.sessionId);
      offer(offered);
      settle(worker);
      worker.listener?.onDirective(Directive.CANCEL, ErrorReason.LEASE_EXPIRED, entry.attempt);
    }, startTimeoutMs);
    add(worker, entry);
    worker.gone.delete(keyOf(entry.attempt));
    worker.group.ring.delete(worker);
    count(worker);
    worker.listener?.onTask(offered.task);
  }

  // --- what a worker has ---

  function add(worker: Worker, entry: Entry): void {
    worker.entries.set(keyOf(entry.attempt), entry);
    holders.set(entry.attempt.id, { worker, entry });
  }

  function withdraw(worker: Worker, entry: Entry, cause: ErrorReason): boolean {
    const key = keyOf(entry.attempt);
    if (worker.entries.get(key) !== entry) {
      return false;
    }
    entry.cancelTimer();
    worker.entries.delete(key);
    if (holders.get(entry.attempt.id)?.entry === entry) {
      holders.delete(entry.attempt.id);
    }
    beats.forget(entry.attempt);
    worker.gone.set(key, cause);
    const [oldest] = worker.gone.keys();
    if (worker.gone.size > maxGone && oldest !== undefined) {
      worker.gone.delete(oldest);
    }
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
    if (entry.attached !== undefined) {
      book.over(deps.taskOf(entry.attempt), cause).catch(deps.onUnexpectedError);
    } else if (entry.starting !== undefined) {
      entry.overCause = cause;
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
    settle(worker);
  }

  function attach(worker: Worker, entry: Entry): boolean {
    const listener: LeaseListener = {
      onDirective(directive, cause) {
        if (directive === Directive.CANCEL) {
          end(worker, entry, cause);
        }
      },
      onSuperseded: () => end(worker, entry, ErrorReason.LEASE_SUPERSEDED),
    };
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
    add(worker, entry);
    count(worker);
    return entry;
  }

  const termsOf = ({ caller, terms }: Worker) => ({ caller, onLost: terms.onLost, lostPayload: "" });

  async function begin(worker: Worker, entry: Entry, offered: Offer): Promise<CallResult<Task | undefined>> {
    const started = await startUpstream(entry.attempt, offered);
    const opened =
      started.kind === "ok"
        ? await book.hold(deps.taskOf(entry.attempt), termsOf(worker), worker.sessionId)
        : started;
    if (opened.kind === "failed") {
      withdraw(worker, entry, opened.failure.reason);
      settle(worker);
      return opened;
    }
    const isHeld = attach(worker, entry);
    entry.starting = undefined;
    if (isHeld && entry.overCause === undefined) {
      return started;
    }
    const cause = entry.overCause ?? ErrorReason.LEASE_EXPIRED;
    await book.over(deps.taskOf(entry.attempt), cause);
    end(worker, entry, cause);
    return failed(cause, "the task was over before it had begun", entry.attempt);
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
    const holder = holders.get(attempt.id);
    if (holder !== undefined && holder.worker.caller === worker.caller) {
      return ErrorReason.LEASE_SUPERSEDED;
    }
    const gone = worker.gone.get(keyOf(attempt));
    const result = await book.beat(deps.taskOf(attempt), termsOf(worker), worker.sessionId);
    if (result.kind === "failed" || result.answer.directive === Directive.RECONNECT) {
      return gone ?? ErrorReason.TASK_UNKNOWN;
    }
    if (result.answer.directive === Directive.CANCEL) {
      return gone ?? result.answer.cause;
    }
    find(worker, attempt);
    settle(worker);
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
      entry.upstreamExpireMs = result.value.leaseExpireMs;
    } else if (endings.has(result.failure.reason) && worker.entries.get(keyOf(entry.attempt)) === entry) {
      over(worker, entry, result.failure.reason);
    }
  }

  function beatFor(worker: Worker, entry: Entry): number | undefined {
    const answer = entry.attached?.beat();
    if (answer !== undefined) {
      beats
        .beat(entry.attempt, "")
        .then((result) => onNotified(worker, entry, result))
        .catch(deps.onUnexpectedError);
    }
    const { upstreamExpireMs = Number.POSITIVE_INFINITY } = entry;
    return upstreamExpireMs > now() ? upstreamExpireMs : undefined;
  }

  // --- sessions ---

  function touch(worker: Worker): void {
    const wasPresent = isPresent(worker);
    worker.lastBeatMs = now();
    worker.dueMs = steadyNow() + book.durationMs;
    if (!wasPresent) {
      settle(worker);
    }
  }

  // A worker that is silent is given nothing, and keeps nothing that has not begun.
  function tick(): void {
    cancelTick = undefined;
    const wasPaused = pause.wasPaused();
    for (const worker of workers.values()) {
      if (wasPaused) {
        worker.dueMs = Math.max(worker.dueMs, steadyNow() + book.durationMs);
      } else if (worker.dueMs <= steadyNow()) {
        regain(worker, withdrawOffers(worker));
        if (worker.listener === undefined && worker.entries.size === 0) {
          workers.delete(worker.sessionId);
          leaveGroup(worker);
        }
      }
    }
    settle();
    watch();
  }

  function watch(): void {
    if (workers.size > 0 && !isStopped) {
      cancelTick ??= setTimer(tick, tickMs);
    }
  }

  function regain(worker: Worker, offers: readonly Offer[]): void {
    count(worker);
    for (const offered of offers) {
      offer(offered);
    }
    settle(worker);
  }

  function enter(subscription: WorkSubscription): Worker {
    const { caller, definitions: _definitions, sessionId, ...terms } = subscription;
    const group = groupOf(subscription);
    const known = workers.get(sessionId);
    if (known !== undefined) {
      known.listener?.onSuperseded();
      known.listener = undefined;
      const offers = withdrawOffers(known);
      known.terms = terms;
      if (known.group !== group) {
        leaveGroup(known);
        known.group = group;
        group.workers.add(known);
      }
      regain(known, offers);
      return known;
    }
    const worker: Worker = {
      sessionId: sessionId || ids.create(workerSessionName(caller)),
      caller,
      createMs: now(),
      terms,
      group,
      entries: new Map(),
      ending: new Map(),
      gone: new Map(),
      listener: undefined,
      isOpen: false,
      lastBeatMs: now(),
      dueMs: 0,
      free: 0,
    };
    workers.set(worker.sessionId, worker);
    group.workers.add(worker);
    if (cancelTick === undefined) {
      // Nobody has looked for a while.
      pause.wasPaused();
      watch();
    }
    for (const { task } of book.tasksOf(worker.sessionId)) {
      find(worker, { id: task.taskId, execId: task.attempt });
    }
    return worker;
  }

  function placeOf(worker: Worker, listener: WorkerListener, isResumed: boolean): PooledWorker {
    return {
      sessionId: worker.sessionId,
      isResumed,
      startRequestIds: Array.from(worker.entries.values(), ({ startRequestId }) => startRequestId).filter(
        (requestId) => requestId !== "",
      ),

      open() {
        if (worker.listener !== listener) {
          return;
        }
        worker.isOpen = true;
        if (isDraining) {
          listener.onDirective(Directive.DRAIN, ErrorReason.DRAINING);
        }
        settle(worker);
      },

      touch: () => touch(worker),

      change(terms) {
        worker.terms = terms;
        settle(worker);
      },

      async start(attempt, requestId) {
        const entry = find(worker, attempt) ?? (await findOrFail(worker, attempt));
        if ("code" in entry) {
          return { kind: "failed", failure: entry };
        }
        if (entry.starting === undefined && entry.offer !== undefined) {
          entry.cancelTimer();
          entry.startRequestId = requestId;
          entry.starting = begin(worker, entry, entry.offer);
        }
        return entry.starting ?? { kind: "ok", value: undefined };
      },

      release(attempt) {
        const entry = find(worker, attempt);
        if (entry === undefined) {
          return worker.gone.has(keyOf(attempt))
            ? undefined
            : failureOf(ErrorReason.TASK_UNKNOWN, "the worker does not hold the task", attempt);
        }
        const { offer: offered } = entry;
        if (offered === undefined || entry.starting !== undefined) {
          return createFailure(
            ErrorReason.INVALID_REQUEST,
            `the task ${attempt.id} has begun: it ends with an outcome`,
            { code: Code.FailedPrecondition, metadata: { upstream: "aidbox" } },
          );
        }
        withdraw(worker, entry, ErrorReason.LEASE_EXPIRED);
        offered.shunned.add(worker.sessionId);
        regain(worker, [offered]);
        return undefined;
      },

      beat(attempts) {
        let leaseExpireMs = now() + book.durationMs;
        const strange: Attempt[] = [];
        for (const attempt of attempts) {
          const entry = find(worker, attempt);
          if (entry === undefined) {
            strange.push(attempt);
          } else {
            leaseExpireMs = Math.min(leaseExpireMs, beatFor(worker, entry) ?? leaseExpireMs);
          }
        }
        return {
          directive: isDraining ? Directive.DRAIN : Directive.CONTINUE,
          cause: isDraining ? ErrorReason.DRAINING : ErrorReason.UNSPECIFIED,
          leaseExpireMs,
          stopped: strange.length === 0 ? undefined : explain(worker, strange),
        };
      },

      async progress(attempt, progress) {
        const entry = find(worker, attempt) ?? (await findOrFail(worker, attempt));
        if ("code" in entry) {
          return { kind: "failed", failure: entry };
        }
        if (entry.attached === undefined) {
          return { kind: "failed", failure: notBegun(attempt) };
        }
        entry.attached.beat();
        const result = await beats.progress(attempt, progress);
        onNotified(worker, entry, result);
        return result;
      },

      notBegun(attempt) {
        const entry = worker.entries.get(keyOf(attempt));
        return entry === undefined || entry.attached !== undefined ? undefined : notBegun(attempt);
      },

      ending(attempt) {
        const key = keyOf(attempt);
        worker.ending.set(key, (worker.ending.get(key) ?? 0) + 1);
        return {
          answered() {
            const others = (worker.ending.get(key) ?? 1) - 1;
            if (others === 0) {
              worker.ending.delete(key);
            } else {
              worker.ending.set(key, others);
            }
            settle(worker);
          },
        };
      },

      leave() {
        if (worker.listener === listener) {
          worker.listener = undefined;
          worker.isOpen = false;
          regain(worker, withdrawOffers(worker));
        }
      },
    };
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
    startTimeoutMs,

    join(subscription, listener) {
      const { caller, sessionId } = subscription;
      if (sessionId === "" && isDraining) {
        return { kind: "failed", failure: drainingFailure() };
      }
      if (sessionId !== "" && !ids.isGenuine(sessionId, workerSessionName(caller))) {
        return { kind: "failed", failure: unknownSession() };
      }
      if (!workers.has(sessionId) && workers.size >= deps.maxWorkers) {
        return { kind: "failed", failure: tooManySessions(deps.maxWorkers) };
      }
      const worker = enter(subscription);
      worker.listener = listener;
      worker.isOpen = false;
      touch(worker);
      return { kind: "joined", worker: placeOf(worker, listener, sessionId !== "") };
    },

    ended(taskId, cause) {
      const holder = holders.get(taskId);
      if (holder !== undefined) {
        over(holder.worker, holder.entry, cause);
      }
      for (const offered of stock) {
        if (offered.task.id === taskId) {
          stock.delete(offered);
        }
      }
    },

    drain() {
      isDraining = true;
      stock.clear();
      for (const group of groups.values()) {
        group.polls.close();
      }
      for (const worker of workers.values()) {
        if (worker.isOpen) {
          worker.listener?.onDirective(Directive.DRAIN, ErrorReason.DRAINING);
        }
        settle(worker);
      }
    },

    stop() {
      isStopped = true;
      cancelTick?.();
      for (const group of groups.values()) {
        group.polls.close();
      }
    },

    list: () =>
      Array.from(workers.values(), (worker) => ({
        sessionId: worker.sessionId,
        upstream: "aidbox",
        caller: worker.caller,
        worker: worker.terms.worker,
        createMs: worker.createMs,
        lastBeatMs: worker.lastBeatMs,
        leaseExpireMs: Math.floor(now() + Math.max(0, worker.dueMs - steadyNow())),
        isConnected: worker.listener !== undefined,
        taskIds: Array.from(worker.entries.values(), ({ attempt }) => attempt.id),
      })),
  };
}

function newEntry(attempt: Attempt, offer?: Offer): Entry {
  return {
    attempt,
    offer,
    cancelTimer: () => undefined,
    starting: undefined,
    startRequestId: "",
    attached: undefined,
    upstreamExpireMs: undefined,
    overCause: undefined,
  };
}

function keyOf({ id, execId }: Attempt): string {
  return `${id}/${execId}`;
}

function covers({ taskDefinitions, workflowDefinitions }: WorkDefinitions, task: Task): boolean {
  return task.decision === undefined
    ? taskDefinitions.includes(task.definition)
    : workflowDefinitions.includes(task.decision.workflowDefinition);
}

const endings: ReadonlySet<ErrorReason> = new Set([
  ErrorReason.TASK_FINISHED,
  ErrorReason.TASK_CANCELLED,
  ErrorReason.TASK_UNKNOWN,
  ErrorReason.LEASE_EXPIRED,
  ErrorReason.LEASE_SUPERSEDED,
]);

function failureOf(reason: ErrorReason, message: string, { id, execId }: Attempt): Failure {
  return createFailure(reason, message, { metadata: { upstream: "aidbox", task_id: id, exec_id: execId } });
}

function failed<Value>(reason: ErrorReason, message: string, attempt: Attempt): CallResult<Value> {
  return { kind: "failed", failure: failureOf(reason, message, attempt) };
}

function notBegun({ id }: Attempt): Failure {
  return createFailure(ErrorReason.INVALID_REQUEST, `the task ${id} has not begun: start it first`, {
    code: Code.FailedPrecondition,
    metadata: { upstream: "aidbox" },
  });
}

function unknownSession(): Failure {
  return createFailure(ErrorReason.SESSION_UNKNOWN, "this gateway never gave the session to this caller", {
    metadata: { upstream: "aidbox" },
  });
}
