import { createLongPolls } from "./aidbox-long-polls.ts";
import { createReadyQueue, type ReadyQueue } from "./aidbox-ready-queue.ts";
import { instant, type OutcomeReason, type Stamp, type TaskResource } from "./aidbox-resource.ts";
import { type Change, changeTask, type TaskRecord } from "./aidbox-task-record.ts";
import { type Clock, runAt } from "./clock.ts";
import { type Random, uuid } from "./ids.ts";

export interface LifecycleOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly stamp: Stamp;
  onDone(task: TaskResource): void;
}

/** What moves a task from status to status. Whether a caller may is not asked here. FACT: the arrows and the timers. */
export interface TaskLifecycle {
  /** `created` → `ready`, or `waiting` until `executeAtMs`. Returns the resource as it is before anyone takes it. */
  admit(record: TaskRecord, executeAtMs: number): TaskResource;
  /** `ready` → `requested`, with a new `execId`: what is ready in these queues, oldest first. */
  poll(queues: readonly string[], maxBatchSize: number): TaskResource[];
  longPoll(queues: readonly string[], maxBatchSize: number, timeoutMs: number): Promise<TaskResource[]>;
  /** `requested` → `in-progress`. */
  start(record: TaskRecord): TaskResource;
  /** Starts the in-progress timeout anew, and returns its end in epoch milliseconds. */
  watch(record: TaskRecord): number;
  /** `in-progress` → `waiting` while attempts are left, else `done`. */
  fail(record: TaskRecord, reason: OutcomeReason, set: Partial<TaskResource>): TaskResource;
  /** Any → `done`. */
  finish(record: TaskRecord, change: Change): TaskResource;
  log(record: TaskRecord, change: Change): void;
  limitChanged(queue: string): void;
  reset(): void;
}

export function createTaskLifecycle({ clock, random, stamp, onDone }: LifecycleOptions): TaskLifecycle {
  const queues = new Map<string, ReadyQueue<TaskRecord>>();
  const longPolls = createLongPolls(clock, poll);
  let lastOrder = 0;

  function queueOf({ queue, definition }: TaskRecord): ReadyQueue<TaskRecord> {
    const known = queues.get(queue);
    if (known !== undefined) {
      return known;
    }
    const fresh = createReadyQueue<TaskRecord>(() => definition.concurrencyLimit ?? Number.POSITIVE_INFINITY);
    queues.set(queue, fresh);
    return fresh;
  }

  /** Into a new status, whose timer is still to be set. */
  function move(record: TaskRecord, change: Change): void {
    record.cancelTimer();
    record.order = 0;
    changeTask(record, change, stamp, random);
  }

  function makeReady(record: TaskRecord, action: string): TaskResource {
    move(record, { action, set: { status: "ready" }, drop: ["execId"] });
    const ready = record.resource;
    putBack(record);
    record.order = ++lastOrder;
    queueOf(record).add(record);
    longPolls.offer(record.queue);
    return ready;
  }

  function makeWaiting(record: TaskRecord, action: string, executeAt: string, atMs: number): TaskResource {
    move(record, { action, set: { status: "waiting", executeAt }, drop: ["execId"] });
    putBack(record);
    record.cancelTimer = runAt(clock, atMs, () => makeReady(record, "awf.task/execute-at"));
    return record.resource;
  }

  function putBack(record: TaskRecord): void {
    if (!record.isOut) {
      return;
    }
    record.isOut = false;
    queueOf(record).release(record.group);
    longPolls.offer(record.queue);
  }

  function poll(names: readonly string[], maxBatchSize: number): TaskResource[] {
    const batch: TaskResource[] = [];
    while (batch.length < maxBatchSize) {
      const record = oldestQueue(names)?.take();
      if (record === undefined) {
        break;
      }
      batch.push(handOut(record));
    }
    return batch;
  }

  function oldestQueue(names: readonly string[]): ReadyQueue<TaskRecord> | undefined {
    let oldest: ReadyQueue<TaskRecord> | undefined;
    let least = Number.POSITIVE_INFINITY;
    for (const name of names) {
      const queue = queues.get(name);
      const order = queue?.nextOrder() ?? Number.POSITIVE_INFINITY;
      if (order < least) {
        [oldest, least] = [queue, order];
      }
    }
    return oldest;
  }

  function handOut(record: TaskRecord): TaskResource {
    record.isOut = true;
    move(record, { action: "awf.task/request", set: { status: "requested", execId: uuid(random) } });
    const untilMs = clock.now() + record.definition.requestedToStartTimeout;
    record.cancelTimer = runAt(clock, untilMs, () => {
      makeReady(record, "awf.task/requested-to-start-timeout");
    });
    return record.resource;
  }

  function watch(record: TaskRecord): number {
    record.cancelTimer();
    const untilMs = clock.now() + record.definition.inProgressTimeout;
    record.cancelTimer = runAt(clock, untilMs, () => {
      const message = "Failed due to in-progress timeout";
      fail(record, { type: "awf.task/failed-due-to-in-progress-timeout", message }, {});
    });
    return untilMs;
  }

  // FACT: a failure with attempts left is `waiting`. INFERENCE: an in-progress timeout takes the same way.
  function fail(record: TaskRecord, outcomeReason: OutcomeReason, set: Partial<TaskResource>): TaskResource {
    const { allowedRetryCount, retryDelay } = record.definition;
    const { type: action } = outcomeReason;
    if ((record.resource.retryCount ?? 0) >= allowedRetryCount) {
      return finish(record, { action, set: { ...set, outcome: "failed", outcomeReason } });
    }
    const retryAtMs = clock.now() + retryDelay;
    return makeWaiting(record, action, instant(retryAtMs), retryAtMs);
  }

  function finish(record: TaskRecord, change: Change): TaskResource {
    move(record, { ...change, set: { ...change.set, status: "done" } });
    const done = record.resource;
    putBack(record);
    onDone(done);
    return done;
  }

  return {
    admit(record, executeAtMs) {
      const { executeAt } = record.resource;
      const isDue = executeAt === undefined || executeAtMs <= clock.now();
      if (isDue) {
        return makeReady(record, "awf.task/create");
      }
      return makeWaiting(record, "awf.task/create", executeAt, executeAtMs);
    },
    poll,
    longPoll: longPolls.wait,
    start(record) {
      const retryCount = (record.resource.retryCount ?? 0) + 1;
      move(record, { action: "awf.task/start", set: { status: "in-progress", retryCount } });
      watch(record);
      return record.resource;
    },
    watch,
    fail,
    finish,
    log: (record, change) => changeTask(record, change, stamp, random),
    limitChanged(queue) {
      queues.get(queue)?.limitChanged();
      longPolls.offer(queue);
    },
    reset() {
      longPolls.reset();
      queues.clear();
    },
  };
}
