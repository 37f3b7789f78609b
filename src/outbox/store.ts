import type { DeliveryState } from "../../gen/taskgate/v1/receipt_pb.ts";
import type { DeliveryKind, NewDelivery } from "../model/delivery.ts";
import type { DeliveryFilter } from "../model/delivery-desk.ts";
import type { LeaseRecord, TaskStanding } from "../model/lease.ts";
import type { TraceContext } from "../model/trace-context.ts";

/** A delivery as it is in the store, without its payload. Times are the wall clock's. */
export interface DeliveryRow {
  /** The order of acceptance, over all tasks. */
  seq: number;
  id: string;
  upstream: string;
  key: string;
  taskId: string;
  attempt: string;
  kind: DeliveryKind;
  state: DeliveryState;
  isInDoubt: boolean;
  attempts: number;
  createMs: number;
  deliverMs: number | null;
  endMs: number | null;
  /** When the next attempt is due; null while one is under way or another delivery goes first, and at the end. */
  nextAttemptMs: number | null;
  /** A `Failure` in binary form; null: none, or what is stored is not what was accepted (`REJECTED`). */
  failure: Uint8Array | null;
  /** What the upstream answered, as JSON text; empty: nothing. */
  answer: string;
  operation: string;
  caller: string;
  isByGateway: boolean;
  payloadBytes: number;
  /** The trace of the call that made it; null: none. */
  trace: TraceContext | null;
}

/** A delivery whose attempt is recorded as begun: it must be sent now. */
export interface ClaimedDelivery {
  row: DeliveryRow;
  target: string;
  body: string;
  /** When the task's waiting outcome was accepted; null: none waits. */
  outcomeCreateMs: number | null;
  /** How often the upstream answered this one with a failure of its own. */
  ownFailures: number;
  /** Since when attempts of it end without the upstream's word that it took or refused it. */
  ownFailureMs: number | null;
}

/** Takes a report. */
export interface AcceptOp {
  type: "accept";
  delivery: NewDelivery;
  /** The RPC that made it. */
  operation: string;
  caller: string;
  /** Said in a lost worker's name. */
  isByGateway: boolean;
  /** Empty: a repetition is not recognised. */
  requestId: string;
  /** A digest of the request's canonical content, to compare repetitions by. */
  contentHash: string;
  /** The trace of the call; null: none. */
  trace: TraceContext | null;
  nowMs: number;
  /** Record its first attempt as begun, if nothing of its task goes before it. */
  mayLeave: boolean;
}

/** Keeps a report that was refused where an operator sees it. It is never sent. */
export interface KeepRefusedOp {
  type: "keepRefused";
  refused: AcceptOp;
  /** A `Failure` in binary form. */
  failure: Uint8Array;
}

/** Why a report was not taken. */
export type Refusal =
  | { reason: "requestIdReused" }
  | { reason: "taskUnknown" }
  /** `isByGateway`: its outcome was said in a lost worker's name. */
  | { reason: "taskFinished"; isByGateway: boolean }
  | { reason: "conflictingOutcome"; isByGateway: boolean; deliveryId: string }
  | { reason: "full"; limit: string };

export type AcceptResult =
  /**
   * Stored. `lane`: its task's. `isFirst`: nothing of its task goes before it.
   * `claimed`: its first attempt is recorded as begun.
   */
  | {
      kind: "stored";
      row: DeliveryRow;
      lane: string;
      isFirst: boolean;
      claimed: ClaimedDelivery | undefined;
    }
  /** The same report was accepted before. */
  | { kind: "known"; row: DeliveryRow }
  | { kind: "refused"; refusal: Refusal };

/** What became of an attempt. */
export type Settlement =
  | { kind: "delivered"; answer: string }
  | { kind: "unconfirmed"; failure: Uint8Array }
  /** `isTaskOpen`: of an outcome, which then counts no more. */
  | { kind: "rejected"; failure: Uint8Array; isTaskOpen: boolean }
  | {
      kind: "again";
      failure: Uint8Array;
      dueMs: number;
      /** It may have been taken. */
      isInDoubt: boolean;
      /** The upstream answered, and the failure is this delivery's own. */
      isOwnFailure: boolean;
      /** The upstream cannot take it yet. Default: it can. */
      isTooEarly?: boolean;
    };

/** Writes down what became of an attempt. */
export interface SettleOp {
  type: "settle";
  seq: number;
  settlement: Settlement;
  nowMs: number;
  /** Record the first attempt of the task's next delivery as begun. */
  claimNext: boolean;
  /** As in `ClaimOp`. */
  supersede: boolean;
}

export interface SettleResult {
  /** Undefined: the delivery had ended before, or is delivered, which whoever sent it knows. */
  row: DeliveryRow | undefined;
  next: ClaimedDelivery | undefined;
  /** The task has another delivery that is due and was not claimed. */
  hasNext: boolean;
  superseded: DeliveryRow[];
  /** As in `ClaimResult`. */
  damaged: DeliveryRow[];
}

/**
 * Records attempts of deliveries that are due as begun, tasks with outcomes first, but
 * for one place in eight, so that the others leave as well; with `supersede`, which is
 * the end, the others only get what is left.
 */
export interface ClaimOp {
  type: "claim";
  lane: string;
  limit: number;
  nowMs: number;
  /** Nothing is ever due later than this from now: what seems to be, is due (the clock was set back). */
  maxDelayMs: number;
  /** Leave out statuses that their task's stored outcome has overtaken. */
  supersede: boolean;
}

export interface ClaimResult {
  claimed: ClaimedDelivery[];
  superseded: DeliveryRow[];
  /** Deliveries that must not be sent, because what is stored is not what was accepted. */
  damaged: DeliveryRow[];
  /** When the next attempt is due that is not under way; null: none is. */
  nextDueMs: number | null;
}

/**
 * Makes what waits in a lane for its next attempt due now, outcomes first, at most so
 * many tasks; what is in doubt, once its last attempt is surely over.
 */
export interface HastenOp {
  type: "hasten";
  upstream: string;
  lane: string;
  nowMs: number;
  limit: number;
}

/** Moves a delivery by hand. */
export interface MoveOp {
  type: "retry" | "discard";
  seq: number;
  nowMs: number;
}

export type MoveResult =
  | { kind: "moved"; row: DeliveryRow; lane: string }
  | { kind: "unknown" }
  | { kind: "refused"; why: string };

export interface GetOp {
  type: "get";
  seq: number;
}

/** Lists deliveries behind `afterSeq`, oldest first; a bounded number of rows is looked at. */
export interface ListOp {
  type: "list";
  filter: DeliveryFilter;
  afterSeq: number;
  limit: number;
}

export interface ListResult {
  rows: DeliveryRow[];
  /** Where to go on; null: there are no more. */
  lastSeq: number | null;
}

/** Asks how a task stands. */
export interface TaskOp {
  type: "task";
  upstream: string;
  key: string;
}

/** Writes that a session holds a task, unless the task is another caller's or has an outcome. */
export interface BeginLeaseOp {
  type: "beginLease";
  lease: LeaseRecord;
  nowMs: number;
}

export type BeginLeaseResult =
  | { kind: "begun" }
  | { kind: "refused"; standing: TaskStanding }
  /** There is no room on the disk. */
  | { kind: "full" };

/** Writes that a session holds a task no more. Does nothing when another one does. */
export interface EndLeaseOp {
  type: "endLease";
  upstream: string;
  key: string;
  sessionId: string;
  nowMs: number;
}

/** Finds the lease that a task has. */
export interface LeaseOp {
  type: "lease";
  upstream: string;
  key: string;
}

/** Lists leases, in the order in which their tasks were named first. */
export interface LeasesOp {
  type: "leases";
  afterId: number;
  limit: number;
}

export interface LeasesResult {
  leases: LeaseRecord[];
  /** Where to go on; null: there are no more. */
  lastId: number | null;
}

/** Lists the last request ids of a session, oldest first, as their frames carried them. */
export interface AcceptedRequestsOp {
  type: "acceptedRequests";
  caller: string;
  operation: string;
  sessionId: string;
  limit: number;
}

/** Finds the outcome of a task, and under which request id a session's frame has said it. */
export interface OutcomeOp {
  type: "outcome";
  upstream: string;
  key: string;
  caller: string;
  operation: string;
  sessionId: string;
}

export interface OutcomeResult {
  row: DeliveryRow;
  /** As the frame carried it; empty: it was said otherwise. */
  requestId: string;
}

/** Finds outcomes that wait for their next attempt, or whose attempt takes long. */
export interface WaitingOp {
  type: "waiting";
  upstream: string;
  /** Of attempts that are under way: those that began before. */
  begunBeforeMs: number;
  afterSeq: number;
  limit: number;
}

/** Drops what has ended long enough ago; a bounded number of rows at a time. */
export interface PruneOp {
  type: "prune";
  /** Deliveries that ended before. */
  deliveriesBeforeMs: number;
  /** Keep at most so many deliveries that have ended. */
  maxEnded: number;
  /** What a request id, an outcome or a task is remembered by. */
  recordsBeforeMs: number;
  maxRows: number;
}

export interface PruneResult {
  /** There may be more. */
  isMore: boolean;
}

/** How much waits in a lane. */
export interface LaneBacklog {
  upstream: string;
  lane: string;
  rows: number;
  bytes: number;
  /** When the oldest of it was accepted; null: nothing waits, or it was not asked for. */
  oldestMs: number | null;
}

/** Counts what waits, and finds the oldest of it where that is asked for. */
export interface BacklogOp {
  type: "backlog";
  withAge?: boolean;
}

/** Counts what is not delivered. It reads every task: for the end, or when a person asks. */
export interface UndeliveredOp {
  type: "undelivered";
}

/** What one upstream was not yet told. */
export interface Undelivered {
  upstream: string;
  reports: number;
  /** How many tasks have an outcome among them. */
  outcomes: number;
}

/** Compares the checksums of rows behind `afterSeq`; behind the last one, the indexes with the rows. */
export interface VerifyOp {
  type: "verify";
  afterSeq: number;
  limit: number;
}

export interface VerifyResult {
  /** The last row that was read; null: there are no more. */
  lastSeq: number | null;
  damaged: string[];
}

/** An operation with the type of its result. */
export interface StoreOps {
  accept: { op: AcceptOp; result: AcceptResult };
  keepRefused: { op: KeepRefusedOp; result: DeliveryRow | undefined };
  settle: { op: SettleOp; result: SettleResult };
  claim: { op: ClaimOp; result: ClaimResult };
  hasten: { op: HastenOp; result: undefined };
  retry: { op: MoveOp; result: MoveResult };
  discard: { op: MoveOp; result: MoveResult };
  get: { op: GetOp; result: DeliveryRow | undefined };
  list: { op: ListOp; result: ListResult };
  task: { op: TaskOp; result: TaskStanding | undefined };
  beginLease: { op: BeginLeaseOp; result: BeginLeaseResult };
  endLease: { op: EndLeaseOp; result: undefined };
  lease: { op: LeaseOp; result: LeaseRecord | undefined };
  leases: { op: LeasesOp; result: LeasesResult };
  acceptedRequests: { op: AcceptedRequestsOp; result: string[] };
  outcome: { op: OutcomeOp; result: OutcomeResult | undefined };
  waiting: { op: WaitingOp; result: DeliveryRow[] };
  prune: { op: PruneOp; result: PruneResult };
  backlog: { op: BacklogOp; result: LaneBacklog[] };
  undelivered: { op: UndeliveredOp; result: Undelivered[] };
  verify: { op: VerifyOp; result: VerifyResult };
}

export type StoreOp = StoreOps[keyof StoreOps]["op"];
export type ResultOf<Op extends StoreOp> = Op extends { type: infer Type extends keyof StoreOps }
  ? StoreOps[Type]["result"]
  : never;

/**
 * Where reports wait. Operations take effect in the order of their calls. After
 * an operation has resolved, what it wrote survives a crash of the process and
 * of the machine. It rejects when that cannot be promised.
 */
export interface Store {
  run<Op extends StoreOp>(op: Op): Promise<ResultOf<Op>>;
  /** Tells this store's delivery ids from others'. */
  readonly salt: number;
  /** Waits for what is under way, and closes. */
  close(): Promise<void>;
}
