import type { ErrorReason } from "../gen/taskgate/v1/error_reason_pb.ts";
import type { GatewayLeases } from "./gateway-leases.ts";
import type { ListedSession } from "./model/listed-session.ts";
import type { Log } from "./model/log.ts";
import type { TaskBeats, WorkPool } from "./model/work-pool.ts";
import type { Clock } from "./outbox/clock.ts";
import { createTaskBeats } from "./session/task-beats.ts";
import { createWorkPool } from "./session/work-pool.ts";
import { type Aidbox, attemptTask } from "./upstream/aidbox.ts";

export interface GatewayWorkDeps {
  aidbox: Aidbox;
  leases: GatewayLeases;
  clock: Clock;
  steadyNow: () => number;
  heartbeatIntervalMs: number;
  random: () => number;
  log: Log;
}

/** The workers of Aidbox, and what they are told. */
export interface GatewayWork {
  pool: WorkPool;
  beats: TaskBeats;
  /** Whether anybody may hold a task of Aidbox. */
  hasHolders(): boolean;
  /** Aidbox has said that a task is over: whoever has it hears of it at once. */
  onTaskOver(taskId: string, cause: ErrorReason): Promise<void>;
}

const maxWorkers = 10_000;

/** Joins Aidbox with the workers that take its tasks, and with their leases. */
export function joinWork(deps: GatewayWorkDeps): GatewayWork {
  const { aidbox, leases, clock, log } = deps;
  const { book, ids } = leases;
  const beats = createTaskBeats({
    heartbeat: (request) => aidbox.heartbeat(request),
    progress: (attempt, progress) => aidbox.progress(attempt, progress),
    intervalMs: deps.heartbeatIntervalMs,
    now: clock.now,
    steadyNow: deps.steadyNow,
  });
  const pool = createWorkPool({
    book,
    ids,
    beats,
    longPoll: aidbox.workPoll,
    start: aidbox.startSurely,
    taskOf: attemptTask,
    maxWorkers,
    heartbeatIntervalMs: deps.heartbeatIntervalMs,
    now: clock.now,
    steadyNow: deps.steadyNow,
    setTimer: clock.setTimer,
    random: deps.random,
    onRefused({ taskDefinitions, workflowDefinitions }, { message }) {
      const definitions = [...taskDefinitions, ...workflowDefinitions].join(", ");
      log.warn("aidbox refuses to be asked for tasks", { upstream: "aidbox", definitions, message });
    },
    onUnexpectedError: (error) => log.error("the pool of workers failed unexpectedly", error),
  });
  return {
    pool,
    beats,
    hasHolders: () => book.size > 0 || pool.size > 0,
    async onTaskOver(taskId, cause) {
      pool.ended(taskId, cause);
      for (const task of book.attemptsOf("aidbox", taskId)) {
        beats.forget({ id: task.taskId, execId: task.attempt });
        await book.over(task, cause);
      }
    },
  };
}

/** Sessions, each with all that it holds. The pool knows its workers better than the book of leases. */
export function mergeSessions(
  leased: readonly ListedSession[],
  workers: readonly ListedSession[],
): ListedSession[] {
  const merged = new Map<string, ListedSession>();
  for (const session of leased) {
    const known = merged.get(session.sessionId);
    merged.set(
      session.sessionId,
      known === undefined
        ? session
        : {
            ...known,
            createMs: Math.min(known.createMs, session.createMs),
            lastBeatMs: Math.max(known.lastBeatMs, session.lastBeatMs),
            leaseExpireMs: Math.max(known.leaseExpireMs, session.leaseExpireMs),
            isConnected: known.isConnected || session.isConnected,
            taskIds: [...known.taskIds, ...session.taskIds],
          },
    );
  }
  for (const worker of workers) {
    merged.set(worker.sessionId, worker);
  }
  return [...merged.values()];
}
