import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import type { Failure } from "../../gen/taskgate/v1/receipt_pb.ts";
import { Directive } from "../../gen/taskgate/v1/session_pb.ts";
import { drainingFailure } from "../model/failure.ts";
import type { LeasedTask, LeaseRecord, LeaseTerms, TaskStanding } from "../model/lease.ts";
import type { BeatAnswer, BeatResult, LeaseBook, LeaseListener, Opened } from "../model/lease-book.ts";
import {
  causeOf,
  notStored,
  refusedBy,
  superseded,
  tooManySessions,
  unknownSession,
  unknownTask,
} from "./lease-failures.ts";
import { createPauseDetector } from "./pause-detector.ts";
import type { SessionIds } from "./session-ids.ts";

/** Where leases are kept beside the memory. Each resolves when it is on the disk. */
export interface LeaseStore {
  begin(lease: LeaseRecord): Promise<{ kind: "begun" } | { kind: "refused"; standing: TaskStanding }>;
  end(lease: LeaseRecord): Promise<void>;
  standing(task: LeasedTask): Promise<TaskStanding | undefined>;
  find(task: Pick<LeasedTask, "upstream" | "key">): Promise<LeaseRecord | undefined>;
  /** All of them, in pages. */
  list(): AsyncIterable<LeaseRecord[]>;
}

export interface LeaseBookDeps {
  store: LeaseStore;
  ids: SessionIds;
  /** How long a silent task is believed to be alive. */
  durationMs: number;
  maxLeases: number;
  /** The wall clock. */
  now: () => number;
  /** A clock that nobody sets. */
  steadyNow: () => number;
  setTimer: (run: () => void, delayMs: number) => () => void;
  /**
   * Says upstream that the task is lost. Resolves with whether nothing is left to do:
   * it is stored, or it is pointless.
   */
  onLost: (lease: LeaseRecord, lastBeatMs: number) => Promise<boolean>;
  onUnexpectedError: (error: unknown) => void;
}

interface Held {
  readonly record: LeaseRecord;
  lastBeatMs: number;
  dueMs: number;
  listener: LeaseListener | undefined;
}

// Nothing that is late by less is a pause, and no lease ends later than by twice this.
const tickMs = 250;
const maxPauseMs = 1000;
const lostRetryMs = 1000;

/** What a session of a worker that holds several tasks is given for. */
export function workerSessionName(caller: string): string {
  return `worker/${caller}`;
}

/**
 * Creates the book of leases. They run on a steady clock, each for its full time
 * anew after a restart, a pause of the gateway or a jump of the clock.
 */
export function createLeaseBook(deps: LeaseBookDeps): LeaseBook {
  const { store, ids, durationMs, now, steadyNow, setTimer } = deps;
  // In the order in which they run out: who beats goes to the end.
  const held = new Map<string, Held>();
  const bySession = new Map<string, Set<Held>>();
  const pause = createPauseDetector(steadyNow, now, maxPauseMs);
  const started = Promise.withResolvers<void>();
  let suspects = new Set<Held>();
  let isDraining = false;
  let isStopped = false;
  let cancelTick: () => void = () => undefined;

  const nameOf = ({ upstream, key }: Pick<LeasedTask, "upstream" | "key">) => `${upstream}/${key}`;

  const expireMsOf = (dueMs: number) => Math.floor(now() + Math.max(0, dueMs - steadyNow()));

  function renew(name: string, lease: Held): void {
    lease.lastBeatMs = now();
    lease.dueMs = steadyNow() + durationMs;
    held.delete(name);
    held.set(name, lease);
  }

  function hold(record: LeaseRecord): Held {
    const name = nameOf(record.task);
    const before = held.get(name);
    if (before !== undefined) {
      remove(name, before);
    }
    const lease: Held = { record, lastBeatMs: now(), dueMs: 0, listener: undefined };
    renew(name, lease);
    const own = bySession.get(record.sessionId) ?? new Set();
    bySession.set(record.sessionId, own.add(lease));
    return lease;
  }

  function remove(name: string, lease: Held): void {
    held.delete(name);
    const { sessionId } = lease.record;
    const own = bySession.get(sessionId);
    own?.delete(lease);
    if (own?.size === 0) {
      bySession.delete(sessionId);
    }
  }

  function drop(name: string, cause: ErrorReason): Held | undefined {
    const lease = held.get(name);
    if (lease !== undefined) {
      remove(name, lease);
      lease.listener?.onDirective(Directive.CANCEL, cause);
    }
    return lease;
  }

  function answerOf(lease: Held): BeatAnswer {
    return {
      directive: isDraining ? Directive.DRAIN : Directive.CONTINUE,
      cause: isDraining ? ErrorReason.DRAINING : ErrorReason.UNSPECIFIED,
      leaseExpireMs: expireMsOf(lease.dueMs),
      sessionId: lease.record.sessionId,
    };
  }

  // A session is of one task, or of a worker that holds several.
  function isGenuine(sessionId: string, task: LeasedTask, caller: string): boolean {
    return ids.isGenuine(sessionId, nameOf(task)) || ids.isGenuine(sessionId, workerSessionName(caller));
  }

  // What is wrong with a session that speaks for a task that another one holds.
  function foreignSession(task: LeasedTask, caller: string, sessionId: string): Failure {
    return isGenuine(sessionId, task, caller) ? superseded(task) : unknownSession(task);
  }

  async function begin(
    task: LeasedTask,
    terms: LeaseTerms,
    sessionId: string,
  ): Promise<Held | { standing: TaskStanding } | { failure: Failure }> {
    const name = nameOf(task);
    if (!held.has(name) && held.size >= deps.maxLeases) {
      return { failure: tooManySessions(deps.maxLeases) };
    }
    const { caller, onLost, lostPayload } = terms;
    const lease = hold({ task, caller, sessionId, onLost, lostPayload, createMs: now() });
    try {
      const begun = await store.begin(lease.record);
      if (begun.kind === "begun") {
        return lease;
      }
      forget(name, lease);
      return { standing: begun.standing };
    } catch (error) {
      forget(name, lease);
      deps.onUnexpectedError(error);
      return { failure: notStored(task) };
    }
  }

  // Only if no other one has come meanwhile.
  function forget(name: string, lease: Held): void {
    if (held.get(name) === lease) {
      remove(name, lease);
    }
  }

  async function resume(task: LeasedTask, terms: LeaseTerms, sessionId: string): Promise<Opened> {
    const name = nameOf(task);
    const live = held.get(name);
    if (live?.record.sessionId === sessionId) {
      renew(name, live);
      return { kind: "open", sessionId, isResumed: true };
    }
    if (live !== undefined || !isGenuine(sessionId, task, terms.caller)) {
      return { kind: "failed", failure: foreignSession(task, terms.caller, sessionId) };
    }
    const standing = await store.standing(task);
    if (standing === undefined || standing.caller !== terms.caller) {
      return { kind: "failed", failure: unknownSession(task) };
    }
    if (standing.sessionId !== sessionId) {
      return { kind: "failed", failure: superseded(task) };
    }
    const begun = await begin(task, terms, sessionId);
    if ("record" in begun) {
      return { kind: "open", sessionId, isResumed: true };
    }
    return "standing" in begun
      ? { kind: "ended", sessionId, cause: causeOf(begun.standing) }
      : { kind: "failed", failure: begun.failure };
  }

  async function beat(task: LeasedTask, terms: LeaseTerms, sessionId: string): Promise<BeatResult> {
    const name = nameOf(task);
    const live = held.get(name);
    if (live !== undefined && live.record.caller !== terms.caller) {
      return { kind: "failed", failure: unknownTask(task) };
    }
    if (live !== undefined && (sessionId === "" || sessionId === live.record.sessionId)) {
      renew(name, live);
      return { kind: "answered", answer: answerOf(live) };
    }
    if (sessionId !== "") {
      const resumed = await resume(task, terms, sessionId);
      switch (resumed.kind) {
        case "open":
          return beat(task, terms, sessionId);
        case "ended":
          return { kind: "answered", answer: cancel(resumed.cause) };
        case "failed":
          return answerToStranger(resumed.failure);
        default:
          return resumed satisfies never;
      }
    }
    const begun = await begin(task, terms, ids.create(name));
    if ("record" in begun) {
      return { kind: "answered", answer: answerOf(begun) };
    }
    if ("failure" in begun) {
      return { kind: "failed", failure: begun.failure };
    }
    return begun.standing.caller === terms.caller
      ? { kind: "answered", answer: cancel(causeOf(begun.standing)) }
      : { kind: "failed", failure: unknownTask(task) };
  }

  function admit(task: LeasedTask, caller: string, sessionId: string): Failure | undefined {
    const name = nameOf(task);
    const live = held.get(name);
    if (live === undefined) {
      return sessionId === "" || isGenuine(sessionId, task, caller) ? undefined : unknownSession(task);
    }
    if (live.record.caller !== caller) {
      return undefined;
    }
    if (sessionId !== "" && sessionId !== live.record.sessionId) {
      return foreignSession(task, caller, sessionId);
    }
    renew(name, live);
    return undefined;
  }

  async function lose(lease: Held): Promise<void> {
    const { record } = lease;
    // Its worker, or another one, has come back before it could be said.
    if (isStopped || held.has(nameOf(record.task))) {
      return;
    }
    if (record.onLost === "ignore" || (await deps.onLost(record, lease.lastBeatMs))) {
      await store.end(record);
    } else {
      // Nothing else remembers that this task is dead.
      setTimer(() => void lose(lease).catch(deps.onUnexpectedError), lostRetryMs);
    }
  }

  // A lease is over when two looks in a row find it so: what its worker had sent
  // before the first one was read between them.
  function tick(): void {
    cancelTick = setTimer(tick, tickMs);
    if (pause.wasPaused()) {
      suspects = new Set();
      renewAll();
      return;
    }
    const steadyMs = steadyNow();
    const found = new Set<Held>();
    for (const [name, lease] of held) {
      if (lease.dueMs > steadyMs) {
        break;
      }
      if (suspects.has(lease)) {
        drop(name, ErrorReason.LEASE_EXPIRED);
        lose(lease).catch(deps.onUnexpectedError);
      } else {
        found.add(lease);
      }
    }
    suspects = found;
  }

  function renewAll(): void {
    const dueMs = steadyNow() + durationMs;
    for (const lease of held.values()) {
      lease.dueMs = dueMs;
    }
  }

  return {
    durationMs,

    async start() {
      for await (const records of store.list()) {
        for (const record of records) {
          // One that has beaten meanwhile knows better.
          if (!held.has(nameOf(record.task))) {
            hold(record);
          }
        }
      }
      tick();
      started.resolve();
    },

    started: started.promise,

    stop() {
      isStopped = true;
      cancelTick();
    },

    async open(task, terms, sessionId) {
      const name = nameOf(task);
      const live = held.get(name);
      if (live !== undefined && live.record.caller !== terms.caller) {
        return { kind: "failed", failure: unknownTask(task) };
      }
      if (sessionId !== "") {
        return resume(task, terms, sessionId);
      }
      if (isDraining) {
        return { kind: "failed", failure: drainingFailure() };
      }
      live?.listener?.onSuperseded();
      const begun = await begin(task, terms, ids.create(name));
      if ("record" in begun) {
        return { kind: "open", sessionId: begun.record.sessionId, isResumed: false };
      }
      return {
        kind: "failed",
        failure: "failure" in begun ? begun.failure : refusedBy(task, terms, begun.standing),
      };
    },

    async hold(task, terms, sessionId) {
      const live = held.get(nameOf(task));
      if (live !== undefined && live.record.caller !== terms.caller) {
        return { kind: "failed", failure: unknownTask(task) };
      }
      live?.listener?.onSuperseded();
      const begun = await begin(task, terms, sessionId);
      if ("record" in begun) {
        return { kind: "open", sessionId, isResumed: false };
      }
      return {
        kind: "failed",
        failure: "failure" in begun ? begun.failure : refusedBy(task, terms, begun.standing),
      };
    },

    tasksOf: (sessionId) => Array.from(bySession.get(sessionId) ?? [], ({ record }) => record),

    attemptsOf: (upstream, taskId) =>
      Array.from(held.values(), ({ record }) => record.task).filter(
        (task) => task.upstream === upstream && task.taskId === taskId,
      ),

    attach(task, sessionId, listener) {
      const lease = held.get(nameOf(task));
      if (lease === undefined || lease.record.sessionId !== sessionId) {
        return undefined;
      }
      lease.listener?.onSuperseded();
      lease.listener = listener;
      return {
        beat() {
          const name = nameOf(task);
          if (held.get(name) === lease) {
            renew(name, lease);
            return answerOf(lease);
          }
          return undefined;
        },
        detach() {
          if (lease.listener === listener) {
            lease.listener = undefined;
          }
        },
      };
    },

    beat,

    admitBeat(task, caller, sessionId) {
      const live = held.get(nameOf(task));
      if (live !== undefined && live.record.caller !== caller) {
        return { kind: "failed", failure: unknownTask(task) };
      }
      const failure = admit(task, caller, sessionId);
      if (failure !== undefined) {
        return answerToStranger(failure);
      }
      return live === undefined ? undefined : { kind: "answered", answer: answerOf(live) };
    },

    admit,

    ended(task, cause) {
      drop(nameOf(task), cause);
    },

    async over(task, cause) {
      const lease = drop(nameOf(task), cause);
      if (lease !== undefined) {
        await store.end(lease.record);
      }
    },

    async reopened(task) {
      const record = await store.find(task);
      if (record !== undefined && !held.has(nameOf(task))) {
        hold(record);
      }
    },

    drain() {
      isDraining = true;
      for (const { listener } of held.values()) {
        listener?.onDirective(Directive.DRAIN, ErrorReason.DRAINING);
      }
    },

    list: () =>
      Array.from(held.values(), ({ record, lastBeatMs, dueMs, listener }) => ({
        sessionId: record.sessionId,
        upstream: record.task.upstream,
        caller: record.caller,
        worker: "",
        createMs: record.createMs,
        lastBeatMs,
        leaseExpireMs: expireMsOf(dueMs),
        isConnected: listener !== undefined,
        taskIds: [record.task.taskId],
      })),

    get size() {
      return held.size;
    },
  };
}

function cancel(cause: ErrorReason): BeatAnswer {
  return { directive: Directive.CANCEL, cause, leaseExpireMs: undefined, sessionId: "" };
}

// A beat is never refused for what has become of its session.
function answerToStranger(failure: Failure): BeatResult {
  switch (failure.reason) {
    case ErrorReason.LEASE_SUPERSEDED:
      return { kind: "answered", answer: cancel(failure.reason) };
    case ErrorReason.SESSION_UNKNOWN:
      return {
        kind: "answered",
        answer: { ...cancel(failure.reason), directive: Directive.RECONNECT },
      };
    default:
      return { kind: "failed", failure };
  }
}
