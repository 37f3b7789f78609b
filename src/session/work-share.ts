import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import type { Task } from "../../gen/taskgate/v1/executor_pb.ts";
import type { Failure } from "../../gen/taskgate/v1/receipt_pb.ts";
import { Directive } from "../../gen/taskgate/v1/session_pb.ts";
import { covers } from "../model/covers.ts";
import type { WorkDefinitions, WorkSubscription } from "../model/work-pool.ts";
import { createPollGroup, type PollGroupDeps } from "./poll-group.ts";
import { createPollPlaces } from "./poll-places.ts";
import {
  type Entry,
  type Group,
  keyOf,
  newEntry,
  type Offer,
  takenOf,
  type Worker,
} from "./pooled-worker.ts";

export interface WorkShareDeps
  extends Pick<PollGroupDeps, "longPoll" | "setTimer" | "random" | "onUnexpectedError"> {
  /** What workers have. */
  holdings: () => {
    add(worker: Worker, entry: Entry): void;
    withdraw(worker: Worker, entry: Entry, cause: ErrorReason): boolean;
    over(worker: Worker, entry: Entry, cause: ErrorReason): void;
    holderOf(taskId: string): { worker: Worker; entry: Entry } | undefined;
  };
  /** How often a worker should beat. */
  heartbeatIntervalMs: number;
  /** A clock that nobody sets. */
  steadyNow: () => number;
  onRefused: (definitions: WorkDefinitions, failure: Failure) => void;
}

/** How tasks come to workers. */
export type WorkShare = ReturnType<typeof createWorkShare>;

// FACT: Aidbox takes back what was not started within ten seconds. Whoever is given a
// task has all of `startTimeoutMs`, and a second one its chance after a first that
// did not use it.
export const takeBackMs = 10_000;
/** Within which time a task that was given must be started. */
export const startTimeoutMs = 4000;
// Who has not taken a task up for so long, or should have beaten, is given no more.
const lateMs = 500;
const overdue = 1.5;
const giveUntilMs = takeBackMs - startTimeoutMs - 1000;
const maxTasksPerWorker = 1000;
// Fewer than there are connections for it.
const maxPolls = 60;

/**
 * Creates what takes tasks for workers and gives them away: no more than there are
 * places for, the oldest first, to each worker in turn.
 */
export function createWorkShare(deps: WorkShareDeps) {
  const { holdings, steadyNow, setTimer } = deps;
  const groups = new Map<string, Group>();
  const stock = new Set<Offer>();
  const places = createPollPlaces(maxPolls);
  const changed = new Set<Group>();
  let isDraining = false;
  let isTaking = false;

  const isPresent = (worker: Worker) =>
    !isDraining &&
    worker.listener !== undefined &&
    worker.isOpen &&
    steadyNow() - worker.heardMs <= deps.heartbeatIntervalMs * overdue;
  function count(worker: Worker): void {
    const { group, terms } = worker;
    const isReady = isPresent(worker) && worker.late === 0;
    const free = isReady ? Math.max(0, Math.min(terms.maxInFlight, maxTasksPerWorker) - takenOf(worker)) : 0;
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
  const isFresh = (offer: Offer) => !isDraining && steadyNow() - offer.takenMs <= giveUntilMs;

  function take(group: Group, tasks: readonly Task[]): void {
    const takenMs = steadyNow();
    // A place that comes free by a task may be the place of the next one.
    isTaking = true;
    try {
      for (const task of tasks) {
        const before = holdings().holderOf(task.id);
        if (before !== undefined) {
          // The upstream has taken it back from whoever had it.
          holdings().over(before.worker, before.entry, ErrorReason.LEASE_SUPERSEDED);
        }
        offer({ task, group, takenMs, shunned: new Set() });
      }
    } finally {
      isTaking = false;
    }
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
        if (isPresent(worker) && !offered.shunned.has(worker.sessionId)) {
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
    // It may be dead.
    const onLate = () => {
      worker.late += 1;
      entry.cancelTimer = () => {
        cancelTimeout();
        worker.late -= 1;
      };
      const cancelTimeout = setTimer(() => {
        holdings().withdraw(worker, entry, ErrorReason.LEASE_EXPIRED);
        offered.shunned.add(worker.sessionId);
        offer(offered);
        // Before the stream of one that drains may end.
        worker.listener?.onDirective(Directive.CANCEL, ErrorReason.LEASE_EXPIRED, entry.attempt);
        settle(worker);
      }, startTimeoutMs - lateMs);
      settle(worker);
    };
    entry.cancelTimer = setTimer(onLate, lateMs);
    holdings().add(worker, entry);
    worker.gone.delete(keyOf(entry.attempt));
    worker.group.ring.delete(worker);
    count(worker);
    worker.listener?.onTask(offered.task);
  }

  return {
    isPresent,
    count,
    settle,
    groupOf,
    leaveGroup,
    offer,
    /** The upstream has said that a task is over. */
    forget(taskId: string): void {
      for (const offered of stock) {
        if (offered.task.id === taskId) {
          stock.delete(offered);
        }
      }
    },
    /** Nothing is taken or given any more. */
    close(): void {
      isDraining = true;
      stock.clear();
      for (const { polls } of groups.values()) {
        polls.close();
      }
    },
  };
}
