import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import type { Task } from "../../gen/taskgate/v1/executor_pb.ts";
import type { Failure } from "../../gen/taskgate/v1/receipt_pb.ts";
import type { CallResult } from "../model/call-result.ts";
import type { WorkDefinitions } from "../model/work-pool.ts";
import type { PollPlaces } from "./poll-places.ts";

export interface PollGroupDeps {
  /** Asks the upstream for at most so many tasks, and lets it wait for one. */
  longPoll: (
    definitions: WorkDefinitions,
    maxTasks: number,
    timeoutMs: number,
    signal: AbortSignal,
  ) => Promise<CallResult<Task[]>>;
  places: PollPlaces;
  setTimer: (run: () => void, delayMs: number) => () => void;
  random: () => number;
  onTasks: (tasks: Task[]) => void;
  /** The upstream refuses to be asked, for more than a moment. Is told once, until it answers again. */
  onRefused: (failure: Failure) => void;
  onUnexpectedError: (error: unknown) => void;
}

/** Takes tasks of some definitions for those who have room for them. */
export interface PollGroup {
  /** So many tasks have a place now. Never more are asked for than have one. */
  setFree(free: number): void;
  /** Asks for nothing any more. */
  close(): void;
}

// One waits while the other asks for places that came free meanwhile.
const maxPolls = 2;
const maxBatch = 100;
const pollTimeoutMs = 10_000;
// Where more definitions are asked for than there are connections, they take turns.
const crowdedTimeoutMs = 1000;
// A worker that comes back at once finds its poll still there. What comes for nobody
// is away for ten seconds, whether the call was given up or not.
const graceMs = 2000;
// Of tasks that come one after the other, those of so long are taken by one call. The
// first one behind a pause does not wait.
const restMs = 20;
const firstRetryMs = 100;
const maxRetryMs = 10_000;

/** Creates the polls for one set of definitions. */
export function createPollGroup(definitions: WorkDefinitions, deps: PollGroupDeps): PollGroup {
  const polls = new Set<AbortController>();
  let free = 0;
  let asked = 0;
  let batch = maxBatch;
  let failures = 0;
  let isRefused = false;
  let isClosed = false;
  let cancelGiveUp: (() => void) | undefined;
  // Undefined: nothing keeps it from asking.
  let cancelPause: (() => void) | undefined;

  function ask(): void {
    const mayAsk = !isClosed && cancelPause === undefined;
    while (mayAsk && free > asked && polls.size < maxPolls && deps.places.enter(ask)) {
      poll(Math.min(free - asked, batch)).catch(deps.onUnexpectedError);
    }
  }

  function pause(delayMs: number): void {
    cancelPause?.();
    cancelPause = deps.setTimer(() => {
      cancelPause = undefined;
      ask();
    }, delayMs);
  }

  async function poll(maxTasks: number): Promise<void> {
    const controller = new AbortController();
    polls.add(controller);
    asked += maxTasks;
    const timeoutMs = deps.places.isCrowded() ? crowdedTimeoutMs : pollTimeoutMs;
    try {
      const result = await deps.longPoll(definitions, maxTasks, timeoutMs, controller.signal).finally(() => {
        polls.delete(controller);
        asked -= maxTasks;
      });
      if (result.kind === "ok") {
        onAnswer(result.value, maxTasks);
      } else if (!controller.signal.aborted) {
        onFailure(result.failure);
      }
    } finally {
      deps.places.leave();
    }
    ask();
  }

  function onAnswer(tasks: Task[], maxTasks: number): void {
    failures = 0;
    isRefused = false;
    batch = Math.min(maxBatch, batch * 2);
    if (tasks.length === 0) {
      return;
    }
    // Where as many came as were wanted, more may be ready.
    if (tasks.length < maxTasks && cancelPause === undefined) {
      pause(restMs);
    }
    deps.onTasks(tasks);
  }

  function onFailure(failure: Failure): void {
    // What cannot be read may be too large.
    batch = Math.max(1, Math.floor(batch / 2));
    const isForGood = lasting.has(failure.reason);
    if (isForGood && !isRefused) {
      isRefused = true;
      deps.onRefused(failure);
    }
    const limitMs = isForGood ? maxRetryMs : Math.min(maxRetryMs, firstRetryMs * 2 ** failures);
    failures = Math.min(failures + 1, 20);
    pause(limitMs * (0.5 + deps.random() / 2));
  }

  function giveUp(): void {
    cancelGiveUp = undefined;
    for (const controller of polls) {
      controller.abort();
    }
  }

  return {
    setFree(count) {
      free = count;
      if (free > 0) {
        cancelGiveUp?.();
        cancelGiveUp = undefined;
        ask();
      } else if (polls.size > 0 && !isClosed) {
        cancelGiveUp ??= deps.setTimer(giveUp, graceMs);
      }
    },
    close() {
      isClosed = true;
      cancelGiveUp?.();
      cancelPause?.();
      giveUp();
    },
  };
}

const lasting: ReadonlySet<ErrorReason> = new Set([
  ErrorReason.UPSTREAM_REJECTED,
  ErrorReason.UPSTREAM_AUTH,
  ErrorReason.INVALID_REQUEST,
]);
