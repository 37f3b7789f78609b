import type { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import type { Task } from "../../gen/taskgate/v1/executor_pb.ts";
import type { Attempt, CallResult } from "../model/call-result.ts";
import type { Attached } from "../model/lease-book.ts";
import type { RecentMap } from "../model/recent-map.ts";
import type { WorkDefinitions, WorkerListener, WorkTerms } from "../model/work-pool.ts";
import type { PollGroup } from "./poll-group.ts";

/** A task that was taken and has not begun. */
export interface Offer {
  readonly task: Task;
  readonly group: Group;
  /** When it came. Steady clock. */
  readonly takenMs: number;
  /** The sessions that had their chance. */
  readonly shunned: Set<string>;
}

/** A task that counts against a worker's credits. */
export interface Entry {
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
  /** A lease names it; whether the upstream ever said yes to its start is not known here. */
  isDoubtful: boolean;
}

/** A worker's session. */
export interface Worker {
  readonly sessionId: string;
  readonly caller: string;
  readonly createMs: number;
  terms: WorkTerms;
  group: Group;
  readonly entries: Map<string, Entry>;
  /** Those whose outcome is on its way. */
  readonly ending: Map<string, number>;
  /** Wait until there is none. */
  readonly waiting: Set<() => void>;
  /** How many tasks it was given and has not taken up for a while. */
  late: number;
  /** What it had and has no more, and why; the oldest first. */
  readonly gone: RecentMap<string, ErrorReason>;
  listener: WorkerListener | undefined;
  isOpen: boolean;
  lastBeatMs: number;
  /** When it was heard last. Steady clock. */
  heardMs: number;
  /** How many places it is counted with. */
  free: number;
}

/** The workers of one caller that take the same definitions. */
export interface Group {
  readonly name: string;
  readonly caller: string;
  readonly definitions: WorkDefinitions;
  readonly workers: Set<Worker>;
  /** Those that have places: whose turn is next comes first. */
  readonly ring: Set<Worker>;
  free: number;
  polls: PollGroup;
}

/** A task that a worker is given, or has already. */
export function newEntry(attempt: Attempt, offer?: Offer): Entry {
  return {
    attempt,
    offer,
    cancelTimer: () => undefined,
    starting: undefined,
    startRequestId: "",
    attached: undefined,
    upstreamExpireMs: undefined,
    overCause: undefined,
    isDoubtful: false,
  };
}

/** The name of an attempt. */
export function keyOf({ id, execId }: Attempt): string {
  return `${id}/${execId}`;
}

/** Whether the upstream has said yes to its start. */
export function hasBegun({ attached, starting }: Entry): boolean {
  return attached !== undefined && starting === undefined;
}

/** How many credits a worker has used. */
export function takenOf({ entries, ending }: Worker): number {
  let taken = entries.size;
  for (const key of ending.keys()) {
    taken += entries.has(key) ? 0 : 1;
  }
  return taken;
}
