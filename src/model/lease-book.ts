import type { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import type { Failure } from "../../gen/taskgate/v1/receipt_pb.ts";
import type { Directive } from "../../gen/taskgate/v1/session_pb.ts";
import type { LeasedTask, LeaseRecord, LeaseTerms } from "./lease.ts";
import type { ListedSession } from "./listed-session.ts";

/** Hears what concerns a session that a stream carries. */
export interface LeaseListener {
  /** What the worker is asked to do. After CANCEL the lease is over. */
  onDirective(directive: Directive, cause: ErrorReason): void;
  /** Another stream has the session, or another session the task. */
  onSuperseded(): void;
}

/** What came of opening a task. */
export type Opened =
  | { readonly kind: "open"; readonly sessionId: string; readonly isResumed: boolean }
  /** The task of the session that was shown has ended meanwhile. */
  | { readonly kind: "ended"; readonly sessionId: string; readonly cause: ErrorReason }
  | { readonly kind: "failed"; readonly failure: Failure };

/** The answer to a beat. */
export interface BeatAnswer {
  readonly directive: Directive;
  readonly cause: ErrorReason;
  /** When the lease ends. Wall clock. Undefined: it has ended. */
  readonly leaseExpireMs: number | undefined;
  /** Empty: there is no lease any more. */
  readonly sessionId: string;
}

export type BeatResult =
  | { readonly kind: "answered"; readonly answer: BeatAnswer }
  | { readonly kind: "failed"; readonly failure: Failure };

/** A stream that carries a session. */
export interface Attached {
  /** Renews the lease. Undefined: it has ended. */
  beat(): BeatAnswer | undefined;
  detach(): void;
}

/** Who is alive. */
export interface LeaseBook {
  /** How long a silent task is believed to be alive. */
  readonly durationMs: number;
  readonly size: number;
  /** How many sessions hold leases, and how many leases there are, by upstream. */
  counts(): { upstream: string; sessions: number; leases: number }[];
  /** Holds what is stored, each for its full time, and begins to watch. To be awaited before anything is asked. */
  start(): Promise<void>;
  /** Watches no longer. Nothing is reported as lost any more. */
  stop(): void;
  /**
   * Opens a task, or resumes the session that is shown. Without one, it takes a task
   * over that the same caller holds.
   */
  open(task: LeasedTask, terms: LeaseTerms, sessionId: string): Promise<Opened>;
  /** Makes a worker's session, which may hold several tasks, the holder of one more. */
  hold(task: LeasedTask, terms: LeaseTerms, sessionId: string): Promise<Opened>;
  /** What a session holds. */
  tasksOf(sessionId: string): LeaseRecord[];
  /** The attempts of a task that are held. */
  attemptsOf(upstream: string, taskId: string): LeasedTask[];
  /** Makes a stream the carrier of a session. Undefined: the lease has ended. */
  attach(task: LeasedTask, sessionId: string, listener: LeaseListener): Attached | undefined;
  /** A beat without a stream: renews a lease, or begins one. Never fails for what has become of the session. */
  beat(task: LeasedTask, terms: LeaseTerms, sessionId: string): Promise<BeatResult>;
  /**
   * A beat that begins nothing. Undefined: there is no lease here, and nothing speaks
   * against it.
   */
  admitBeat(task: LeasedTask, caller: string, sessionId: string): BeatResult | undefined;
  /** A report of a caller's task: a beat, too. Returns why it must not be taken. */
  admit(task: LeasedTask, caller: string, sessionId: string): Failure | undefined;
  /**
   * The task has ended: its lease, too. What only the upstream knows is remembered for
   * the caller who had it.
   */
  ended(task: Pick<LeasedTask, "upstream" | "key">, cause: ErrorReason, caller: string): void;
  /** The upstream has said that the task is over: so is its lease, for good. */
  over(task: LeasedTask, cause: ErrorReason): Promise<void>;
  /** The task's outcome counts no more: it has its full time again. */
  reopened(task: Pick<LeasedTask, "upstream" | "key">): Promise<void>;
  /** Takes no new tasks, and asks the workers to take none. */
  drain(): void;
  /** The sessions that hold tasks. */
  list(): ListedSession[];
}
