import type { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import type { Task } from "../../gen/taskgate/v1/executor_pb.ts";
import type { Failure } from "../../gen/taskgate/v1/receipt_pb.ts";
import type { Directive } from "../../gen/taskgate/v1/session_pb.ts";
import type { Attempt, AttemptLease, CallResult } from "./call-result.ts";
import type { OnLost } from "./lease.ts";
import type { ListedSession } from "./listed-session.ts";

/** Which tasks somebody takes. */
export interface WorkDefinitions {
  readonly taskDefinitions: readonly string[];
  /** Whose decision tasks are taken. */
  readonly workflowDefinitions: readonly string[];
}

/** What a worker may change while it is there. */
export interface WorkTerms {
  /** How many tasks it holds at most; 0: it takes nothing new. */
  readonly maxInFlight: number;
  /** A name for people. */
  readonly worker: string;
  readonly onLost: OnLost;
}

/** A worker that wants tasks. */
export interface WorkSubscription extends WorkTerms {
  readonly caller: string;
  readonly definitions: WorkDefinitions;
  /** The session to resume; empty: a new one. */
  readonly sessionId: string;
}

/** Hears what a worker is to be told. */
export interface WorkerListener {
  /** A task to start; it holds a credit from now on. */
  onTask(task: Task): void;
  /** Without an attempt it concerns the whole worker. After CANCEL of an attempt its credit is free. */
  onDirective(directive: Directive, cause: ErrorReason, attempt?: Attempt): void;
  /** The upstream refuses to be asked for this worker's tasks. */
  onRefused(failure: Failure): void;
  /** Another stream has the session. */
  onSuperseded(): void;
  /** The gateway drains, and the worker holds nothing any more. */
  onDrained(): void;
}

/** What a beat comes to. */
export interface WorkBeat {
  readonly directive: Directive;
  readonly cause: ErrorReason;
  /** When the first of what was named is over without another beat. Wall clock. */
  readonly leaseExpireMs: number;
  /** Those named that the worker should stop, and why. Undefined: none. */
  readonly stopped: Promise<StoppedAttempt[]> | undefined;
}

export interface StoppedAttempt {
  readonly attempt: Attempt;
  readonly cause: ErrorReason;
}

/** How far a task is. */
export interface TaskProgress {
  readonly current: bigint;
  readonly total: bigint | undefined;
  readonly unit: string;
}

/** A worker's place in the pool, as long as its stream lasts. */
export interface PooledWorker {
  readonly sessionId: string;
  readonly isResumed: boolean;
  /** The ids of the requests that began what the worker holds. */
  readonly startRequestIds: readonly string[];
  /** Resolves when no outcome that an older stream of the session said is on its way. */
  quiet(): Promise<void>;
  /** It may be given tasks from now on. */
  open(): void;
  /** Any frame is a sign of life but one that only keeps the connection. */
  touch(): void;
  change(terms: WorkTerms): void;
  /** Begins a task; again for one that has begun changes nothing, and answers without the task. */
  start(attempt: Attempt, requestId: string): Promise<CallResult<Task | undefined>>;
  /** Gives up a task that has not begun. Returns why it cannot. */
  release(attempt: Attempt): Failure | undefined;
  beat(attempts: readonly Attempt[]): WorkBeat;
  progress(attempt: Attempt, progress: TaskProgress): Promise<CallResult<AttemptLease>>;
  /** Why an attempt cannot have an outcome yet; undefined: it can. */
  notBegun(attempt: Attempt): Failure | undefined;
  /**
   * Its outcome is on its way: that it is over is no news to the worker, and its credit
   * is not free before `answered` was called.
   */
  ending(attempt: Attempt): { answered(): void };
  /** Its stream is over: what it holds stays its own, what has not begun is another's. */
  leave(): void;
}

export type Joined =
  | { readonly kind: "joined"; readonly worker: PooledWorker }
  | { readonly kind: "failed"; readonly failure: Failure };

/** The workers that are there, and the tasks that are taken for them. */
export interface WorkPool {
  /** Within which time a task that was given must be started. */
  readonly startTimeoutMs: number;
  /** How many sessions there are. */
  readonly size: number;
  join(subscription: WorkSubscription, listener: WorkerListener): Joined;
  /** A task is over, whoever has it. */
  ended(taskId: string, cause: ErrorReason): void;
  /** Takes no more tasks, and asks the workers to take none. */
  drain(): void;
  stop(): void;
  list(): ListedSession[];
}

/** Says upstream that attempts are alive, no more often than it needs to hear it. */
export interface TaskBeats {
  /**
   * Resolves with what the upstream said, which may be what it said a while ago. A
   * message is always passed on.
   */
  beat(attempt: Attempt, message: string): Promise<CallResult<AttemptLease>>;
  /** A beat, too. Of several that wait only the latest is sent. */
  progress(attempt: Attempt, progress: TaskProgress): Promise<CallResult<AttemptLease>>;
  /** The attempt is over, or may be: what is known of it counts no more. */
  forget(attempt: Attempt): void;
}
