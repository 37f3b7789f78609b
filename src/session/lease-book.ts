import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import type { Failure } from "../../gen/taskgate/v1/receipt_pb.ts";
import { Directive } from "../../gen/taskgate/v1/session_pb.ts";
import { drainingFailure } from "../model/failure.ts";
import type { LeasedTask, LeaseRecord, LeaseTerms, TaskStanding } from "../model/lease.ts";
import type { BeatAnswer, BeatResult, LeaseBook, Opened } from "../model/lease-book.ts";
import { createGoneTasks } from "./gone-tasks.ts";
import { createHeldLeases, type HeldLease, leaseName } from "./held-leases.ts";
import {
  causeOf,
  noRoom,
  notStored,
  refusedBy,
  superseded,
  tooManyLostPayloads,
  tooManySessions,
  unknownSession,
  unknownTask,
} from "./lease-failures.ts";
import type { SessionIds } from "./session-ids.ts";

/** Where leases are kept beside the memory. Each resolves when it is on the disk. */
export interface LeaseStore {
  begin(
    lease: LeaseRecord,
  ): Promise<{ kind: "begun" } | { kind: "refused"; standing: TaskStanding } | { kind: "full" }>;
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
  /** A lease has run out, whatever is to be done then. */
  onExpired?: ((lease: LeaseRecord) => void) | undefined;
  onUnexpectedError: (error: unknown) => void;
}

const lostRetryMs = 1000;
const maxGone = 10_000;
// Of all leases together, in UTF-16 units: each may be as large as a payload.
const maxLostPayloads = 64 * 1024 * 1024;

/** What a session of a worker that holds several tasks is given for. */
export function workerSessionName(caller: string): string {
  return `worker/${caller}`;
}

/**
 * Creates the book of leases. They run on a steady clock, each for its full time
 * anew after a restart, a pause of the gateway or a jump of the clock.
 */
export function createLeaseBook(deps: LeaseBookDeps): LeaseBook {
  const { store, ids, durationMs, now, setTimer } = deps;
  // How many leases of a task are on their way to the disk.
  const beginning = new Map<string, number>();
  const held = createHeldLeases({
    ...deps,
    isAwaited: (name) => beginning.has(name),
    onExpired(lease) {
      deps.onExpired?.(lease.record);
      void lose(lease).catch(deps.onUnexpectedError);
    },
  });
  const gone = createGoneTasks(maxGone);
  let isDraining = false;
  let isStopped = false;

  function answerOf(lease: HeldLease): BeatAnswer {
    return {
      directive: isDraining ? Directive.DRAIN : Directive.CONTINUE,
      cause: isDraining ? ErrorReason.DRAINING : ErrorReason.UNSPECIFIED,
      leaseExpireMs: held.expireMsOf(lease),
      sessionId: lease.record.sessionId,
    };
  }

  // A session is of one task, or of a worker that holds several.
  function isGenuine(sessionId: string, task: LeasedTask, caller: string): boolean {
    return ids.isGenuine(sessionId, leaseName(task)) || ids.isGenuine(sessionId, workerSessionName(caller));
  }

  // What is wrong with a session that speaks for a task that another one holds.
  function foreignSession(task: LeasedTask, caller: string, sessionId: string): Failure {
    return isGenuine(sessionId, task, caller) ? superseded(task) : unknownSession(task);
  }

  async function begin(
    task: LeasedTask,
    terms: LeaseTerms,
    sessionId: string,
  ): Promise<HeldLease | { standing: TaskStanding } | { failure: Failure }> {
    const name = leaseName(task);
    if (held.get(name) === undefined && held.size + beginning.size >= deps.maxLeases) {
      return { failure: tooManySessions(deps.maxLeases) };
    }
    const { caller, onLost, lostPayload } = terms;
    const replaced = held.get(name)?.record.lostPayload.length ?? 0;
    if (held.lostPayloadLength - replaced + lostPayload.length > maxLostPayloads) {
      return { failure: tooManyLostPayloads() };
    }
    const record = { task, caller, sessionId, onLost, lostPayload, createMs: now() };
    beginning.set(name, (beginning.get(name) ?? 0) + 1);
    try {
      const begun = await store.begin(record);
      if (begun.kind !== "begun") {
        return begun.kind === "full" ? { failure: noRoom(task) } : { standing: begun.standing };
      }
      // Not before: whose the task is, and whether it is over, only the store knows. And in
      // this very step, because an outcome behind it is told in the next one.
      const before = held.get(name);
      const lease = held.hold(record);
      before?.listener?.onSuperseded();
      return lease;
    } catch (error) {
      deps.onUnexpectedError(error);
      return { failure: notStored(task) };
    } finally {
      const others = (beginning.get(name) ?? 0) - 1;
      if (others > 0) {
        beginning.set(name, others);
      } else {
        beginning.delete(name);
      }
    }
  }

  async function resume(task: LeasedTask, terms: LeaseTerms, sessionId: string): Promise<Opened> {
    const name = leaseName(task);
    const live = held.get(name);
    if (live?.record.sessionId === sessionId) {
      held.renew(live);
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
    const name = leaseName(task);
    const live = held.get(name);
    if (live !== undefined && live.record.caller !== terms.caller) {
      return { kind: "failed", failure: unknownTask(task) };
    }
    const cause = gone.causeOf(name, terms.caller);
    if (cause !== undefined) {
      return { kind: "answered", answer: cancel(cause) };
    }
    if (live !== undefined && (sessionId === "" || sessionId === live.record.sessionId)) {
      held.renew(live);
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
    const name = leaseName(task);
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
    held.renew(live);
    return undefined;
  }

  async function lose(lease: HeldLease): Promise<void> {
    const { record } = lease;
    const name = leaseName(record.task);
    // Its worker, or another one, has come back before it could be said.
    if (isStopped || held.get(name) !== undefined) {
      return;
    }
    if (beginning.has(name)) {
      loseLater(lease);
      return;
    }
    if (record.onLost === "ignore") {
      await store.end(record);
      return;
    }
    const isSaid = await deps.onLost(record, lease.lastBeatMs).catch((error: unknown) => {
      deps.onUnexpectedError(error);
      return false;
    });
    if (isSaid) {
      // Who has come back while it was said hears of it.
      held.drop(name, ErrorReason.LEASE_EXPIRED);
      await store.end(record);
    } else {
      loseLater(lease);
    }
  }

  // Nothing else remembers that this task is dead.
  function loseLater(lease: HeldLease): void {
    setTimer(() => void lose(lease).catch(deps.onUnexpectedError), lostRetryMs);
  }

  return {
    durationMs,

    async start() {
      for await (const records of store.list()) {
        for (const record of records) {
          // One that has beaten meanwhile knows better.
          if (held.get(leaseName(record.task)) === undefined) {
            held.hold(record);
          }
        }
      }
      if (!isStopped) {
        held.watch();
      }
    },

    stop() {
      isStopped = true;
      held.stop();
    },

    async open(task, terms, sessionId) {
      const name = leaseName(task);
      const live = held.get(name);
      if (live !== undefined && live.record.caller !== terms.caller) {
        return { kind: "failed", failure: unknownTask(task) };
      }
      const cause = gone.causeOf(name, terms.caller);
      if (cause !== undefined && isGenuine(sessionId, task, terms.caller)) {
        return { kind: "ended", sessionId, cause };
      }
      if (sessionId !== "") {
        return resume(task, terms, sessionId);
      }
      if (isDraining) {
        return { kind: "failed", failure: drainingFailure() };
      }
      const begun = await begin(task, terms, ids.create(name));
      if ("record" in begun) {
        gone.delete(name);
        return { kind: "open", sessionId: begun.record.sessionId, isResumed: false };
      }
      return {
        kind: "failed",
        failure: "failure" in begun ? begun.failure : refusedBy(task, terms, begun.standing),
      };
    },

    async hold(task, terms, sessionId) {
      const live = held.get(leaseName(task));
      if (live !== undefined && live.record.caller !== terms.caller) {
        return { kind: "failed", failure: unknownTask(task) };
      }
      const begun = await begin(task, terms, sessionId);
      if ("record" in begun) {
        return { kind: "open", sessionId, isResumed: false };
      }
      return {
        kind: "failed",
        failure: "failure" in begun ? begun.failure : refusedBy(task, terms, begun.standing),
      };
    },

    tasksOf: (sessionId) => Array.from(held.ofSession(sessionId), ({ record }) => record),

    attemptsOf: (upstream, taskId) =>
      Array.from(held.values(), ({ record }) => record.task).filter(
        (task) => task.upstream === upstream && task.taskId === taskId,
      ),

    attach(task, sessionId, listener) {
      const lease = held.get(leaseName(task));
      if (lease === undefined || lease.record.sessionId !== sessionId) {
        return undefined;
      }
      lease.listener?.onSuperseded();
      lease.listener = listener;
      return {
        beat() {
          const name = leaseName(task);
          if (held.get(name) === lease) {
            held.renew(lease);
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
      const live = held.get(leaseName(task));
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

    ended(task, cause, caller) {
      const name = leaseName(task);
      const lease = held.drop(name, cause);
      if (cause === ErrorReason.TASK_FINISHED) {
        return;
      }
      gone.add(name, lease?.record.caller ?? caller, cause);
      if (lease !== undefined) {
        store.end(lease.record).catch(deps.onUnexpectedError);
      }
    },

    async over(task, cause) {
      const lease = held.drop(leaseName(task), cause);
      if (lease !== undefined) {
        await store.end(lease.record);
      }
    },

    async reopened(task) {
      const record = await store.find(task);
      if (record !== undefined && held.get(leaseName(task)) === undefined) {
        held.hold(record);
      }
    },

    drain() {
      isDraining = true;
      for (const { listener } of held.values()) {
        listener?.onDirective(Directive.DRAIN, ErrorReason.DRAINING);
      }
    },

    list: () =>
      Array.from(held.values(), (lease) => ({
        sessionId: lease.record.sessionId,
        upstream: lease.record.task.upstream,
        caller: lease.record.caller,
        worker: "",
        createMs: lease.record.createMs,
        lastBeatMs: lease.lastBeatMs,
        leaseExpireMs: held.expireMsOf(lease),
        isConnected: lease.listener !== undefined,
        taskIds: [lease.record.task.taskId],
      })),

    get size() {
      return held.size;
    },

    counts: () => held.counts(),
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
