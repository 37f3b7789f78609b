import { createHash } from "node:crypto";
import { toBinary } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import { DeliveryState, type Failure, FailureSchema } from "../../gen/taskgate/v1/receipt_pb.ts";
import { answerMarginMs } from "../model/answer-margin.ts";
import type { DeliveryUpstream, NewDelivery } from "../model/delivery.ts";
import type { DeliveryObserver } from "../model/delivery-observer.ts";
import { createFailure } from "../model/failure.ts";
import type { Submission, SubmitOptions } from "../model/submission.ts";
import type { TraceContext } from "../model/trace-context.ts";
import type { Clock } from "./clock.ts";
import { createDeliveryWaiters } from "./delivery-waiters.ts";
import { createKeyOrder } from "./key-order.ts";
import { createLaneDispatcher, type LaneDispatcher } from "./lane-dispatcher.ts";
import { failureOf, receiptOf } from "./receipt.ts";
import { retryPolicies } from "./retry-policy.ts";
import type { AcceptOp, DeliveryRow, Refusal, Store } from "./store.ts";

export interface OutboxDeps {
  store: Store;
  /** Where reports are sent to, by name. */
  upstreams: ReadonlyMap<string, DeliveryUpstream>;
  clock: Clock;
  random: () => number;
  /** How many attempts may be under way per origin. */
  concurrency: number;
  /** The longest that a call waits for a delivery. */
  maxWaitMs: number;
  /** Default: nobody observes deliveries. */
  observer?: DeliveryObserver | undefined;
  /** The trace that what runs belongs to. Default: it belongs to none. */
  currentTrace?: (() => TraceContext | undefined) | undefined;
  /** Is told of each change of a delivery. */
  onChange?: (row: DeliveryRow) => void;
  /** Is told what an operator must know at once. */
  onAlarm: (message: string, fields: Record<string, string>) => void;
  /** Is told what an operator should know. */
  onWarning: (message: string, fields: Record<string, string>) => void;
  /** Is told that it is over. */
  onNotice?: (message: string, fields: Record<string, string>) => void;
  onUnexpectedError: (error: unknown) => void;
}

/** What a thing that is done beside the deliveries of a task came to. */
export type InOrder<Result> =
  | { kind: "done"; result: Result }
  /** The task has an outcome, and nothing was done. */
  | { kind: "finished" }
  /** The task is another caller's, and nothing was done. */
  | { kind: "unknown" };

/** Takes reports, keeps them, and sends them until their upstream takes or refuses them. */
export interface Outbox {
  /** Goes on with what waits. */
  start(): Promise<void>;
  /** Stores a report, and answers as far as its caller wants to wait. */
  submit(delivery: NewDelivery, options: SubmitOptions): Promise<Submission>;
  /**
   * Does something for a caller's task while no delivery of it is under way. Rejects
   * with the signal's reason, and does nothing, when it aborts before its turn.
   */
  inOrder<Result>(
    task: Pick<NewDelivery, "upstream" | "key">,
    caller: string,
    signal: AbortSignal,
    run: () => Promise<Result>,
  ): Promise<InOrder<Result>>;
  /** Waits for a delivery's end, at most so long. */
  waitFor(row: DeliveryRow, timeoutMs: number, signal: AbortSignal): Promise<DeliveryRow>;
  /** Waits for a delivery's end, however long that takes. */
  waitForEnd(row: DeliveryRow, signal: AbortSignal): Promise<DeliveryRow>;
  /** How it stands with the origins that deliveries have gone to. */
  lanes(): { upstream: string; lane: string; isBreakerOpen: boolean; isUnauthorized: boolean }[];
  /** An operator has moved a delivery of a lane: it is tried now, whatever trouble the origin is in. */
  moved(row: DeliveryRow, lane: string): void;
  /** Answers those who wait for a delivery with what is known of it, from now on. */
  releaseWaiting(): void;
  /**
   * The gateway ends in `graceMs`: from now on outcomes leave first, statuses that they
   * have overtaken stay behind, and what waits is tried at once and then every second.
   * Reports are still taken.
   */
  hurry(graceMs: number): void;
  /**
   * Delivers what waits, in a hurry, as far as that goes within `graceMs`; then ends.
   */
  stop(graceMs: number): Promise<void>;
}

/** Creates an outbox on an open store. */
export function createOutbox(deps: OutboxDeps): Outbox {
  const { store, clock } = deps;
  const order = createKeyOrder();
  const waiters = createDeliveryWaiters(clock);
  const lanes = new Map<string, LaneDispatcher & { upstream: string }>();
  // Of the gateway, by the wall clock, once it is known.
  let endMs: number | undefined;

  function onChange(row: DeliveryRow): void {
    waiters.tell(row);
    deps.onChange?.(row);
  }

  function laneOf(name: string, upstreamName: string): LaneDispatcher | undefined {
    const existing = lanes.get(name);
    const upstream = deps.upstreams.get(upstreamName);
    const policy = retryPolicies[upstreamName];
    if (existing !== undefined || upstream === undefined || policy === undefined) {
      return existing;
    }
    const dispatcher = createLaneDispatcher({
      ...deps,
      lane: name,
      upstreamName,
      upstream,
      policy,
      order,
      onChange,
      onTrouble(failure) {
        const fields = { upstream: upstreamName, lane: name };
        if (failure === undefined) {
          deps.onNotice?.("the upstream takes reports again", fields);
        } else {
          deps.onWarning("the upstream is in trouble: reports wait", { ...fields, why: failure.message });
        }
      },
      onUnauthorized(failure) {
        waiters.refuse(name, failure);
        const fields = { upstream: upstreamName, lane: name };
        if (failure === undefined) {
          deps.onNotice?.("the upstream takes the gateway's credentials again", fields);
        } else {
          deps.onWarning(
            "the upstream refuses the gateway's credentials: reports wait for other ones",
            fields,
          );
        }
      },
      onDamage: (row) =>
        deps.onAlarm("a delivery is damaged and is not sent", {
          deliveryId: row.id,
          upstream: row.upstream,
          task: row.taskId,
        }),
    });
    const lane = Object.assign(dispatcher, { upstream: upstreamName });
    lanes.set(name, lane);
    if (endMs !== undefined) {
      lane.hurry(endMs);
    }
    return lane;
  }

  async function keep(delivery: NewDelivery, options: SubmitOptions) {
    const lane = laneOf(delivery.lane, delivery.upstream);
    const mayLeave = lane?.tryReserve() === true;
    let isHeld = mayLeave;
    try {
      const op: AcceptOp = {
        type: "accept",
        delivery,
        operation: options.operation,
        caller: options.caller,
        isByGateway: options.isByGateway === true,
        requestId: options.requestId,
        contentHash: options.requestId === "" ? "" : hashOf(delivery),
        trace: deps.currentTrace?.() ?? null,
        nowMs: clock.now(),
        mayLeave,
      };
      const accepted = await store.run(op);
      const claimed = accepted.kind === "stored" ? accepted.claimed : undefined;
      // A task stays in the lane where it began.
      const own = accepted.kind === "stored" ? laneOf(accepted.lane, delivery.upstream) : lane;
      if (isHeld && (claimed === undefined || own !== lane)) {
        lane?.release();
      }
      isHeld = false;
      if (accepted.kind === "stored") {
        deps.observer?.stored(accepted.row);
      }
      if (claimed !== undefined) {
        if (own !== lane) {
          own?.take();
        }
        own?.send(claimed);
      }
      if (accepted.kind === "refused" && isBehindGateway(accepted.refusal)) {
        const failure = toBinary(FailureSchema, refusalOf(accepted.refusal, delivery));
        const kept = await store
          .run({ type: "keepRefused", refused: op, failure })
          .catch(deps.onUnexpectedError);
        if (kept !== undefined) {
          deps.observer?.ended(kept);
        }
      }
      if (accepted.kind === "stored") {
        deps.onChange?.(accepted.row);
        if (accepted.isFirst && claimed === undefined) {
          own?.wake();
        }
      }
      return accepted;
    } catch (error) {
      if (isHeld) {
        lane?.release();
      }
      throw error;
    }
  }

  function hurry(graceMs: number): void {
    endMs = clock.now() + graceMs;
    for (const lane of lanes.values()) {
      lane.hurry(endMs);
    }
  }

  return {
    async start() {
      for (const { lane, upstream, rows } of await store.run({ type: "backlog" })) {
        if (rows > 0) {
          laneOf(lane, upstream)?.wake();
        }
      }
    },

    async submit(delivery, options) {
      const accepted = await keep(delivery, options).catch((error: unknown) => {
        deps.onUnexpectedError(error);
        return undefined;
      });
      if (accepted === undefined) {
        return { kind: "failed", failure: notStored(delivery.upstream) };
      }
      if (accepted.kind === "refused") {
        return { kind: "failed", failure: refusalOf(accepted.refusal, delivery) };
      }
      const waitMs = options.waitFor === "delivered" ? waitTimeMs(options.timeoutMs(), deps.maxWaitMs) : 0;
      const lane = accepted.kind === "stored" ? accepted.lane : delivery.lane;
      const row = await waiters.wait(accepted.row, waitMs, waitMs > 0 ? options.signal : undefined, lane);
      return options.waitFor === "delivered" && row.state === DeliveryState.REJECTED
        ? { kind: "failed", failure: rejectionOf(row) }
        : {
            kind: "accepted",
            receipt: receiptOf(row),
            answer: row.answer,
            async ended(signal) {
              const last = await waiters.waitForEnd(row, signal);
              return { receipt: receiptOf(last), answer: last.answer };
            },
          };
    },

    async inOrder(task, caller, signal, run) {
      const state = await store.run({ type: "task", ...task });
      if (state !== undefined && state.caller !== caller) {
        return { kind: "unknown" };
      }
      if (state !== undefined && state.outcomeBy !== "nobody") {
        return { kind: "finished" };
      }
      return { kind: "done", result: await order.run(`${task.upstream}/${task.key}`, run, signal) };
    },

    waitForEnd: waiters.waitForEnd,
    waitFor: (row, timeoutMs, signal) => waiters.wait(row, Math.min(timeoutMs, deps.maxWaitMs), signal),

    lanes: () =>
      Array.from(lanes, ([lane, { upstream, isInTrouble, isUnauthorized }]) => ({
        upstream,
        lane,
        isBreakerOpen: isInTrouble,
        isUnauthorized,
      })),

    moved(row, lane) {
      onChange(row);
      if (row.state === DeliveryState.DISCARDED) {
        deps.observer?.ended(row);
      }
      laneOf(lane, row.upstream)?.tryNow();
    },

    releaseWaiting: waiters.releaseAll,

    hurry,

    async stop(graceMs) {
      if (endMs === undefined) {
        hurry(graceMs);
      }
      await untilEmpty(store, clock, graceMs);
      const ended = Array.from(lanes.values(), (lane) => lane.stop());
      const cancelAbort = clock.setTimer(() => {
        for (const lane of lanes.values()) {
          lane.abort();
        }
      }, graceMs);
      await Promise.all(ended);
      cancelAbort();
      waiters.releaseAll();
    },
  };
}

function waitTimeMs(timeoutMs: number | undefined, maxWaitMs: number): number {
  return timeoutMs === undefined ? maxWaitMs : Math.min(maxWaitMs, timeoutMs - answerMarginMs(timeoutMs));
}

async function untilEmpty(store: Store, clock: Clock, graceMs: number): Promise<void> {
  const endMs = clock.now() + graceMs;
  for (;;) {
    const backlog = await store.run({ type: "backlog" }).catch(() => []);
    if (backlog.every(({ rows }) => rows === 0) || clock.now() >= endMs) {
      return;
    }
    await new Promise<void>((resolve) => clock.setTimer(resolve, drainPollMs));
  }
}

const drainPollMs = 20;

function hashOf({ upstream, key, kind, target, body }: NewDelivery): string {
  return createHash("sha256").update([upstream, key, kind, target, body].join("\n")).digest("base64");
}

// A worker's own outcome that came behind the one said in its name.
function isBehindGateway(refusal: Refusal): boolean {
  return refusal.reason === "conflictingOutcome" && refusal.isByGateway;
}

function refusalOf(refusal: Refusal, { upstream, taskId, attempt }: NewDelivery): Failure {
  const metadata = { upstream };
  const task = attempt === "" ? taskId : `${taskId}, attempt ${attempt}`;
  switch (refusal.reason) {
    case "requestIdReused":
      return createFailure(ErrorReason.REQUEST_ID_REUSED, "this request_id came before with other content", {
        metadata,
      });
    case "taskUnknown":
      return createFailure(ErrorReason.TASK_UNKNOWN, `there is no task ${task}`, { metadata });
    case "taskFinished":
      return refusal.isByGateway
        ? createFailure(ErrorReason.LEASE_EXPIRED, `the task ${task} was reported as lost`, { metadata })
        : createFailure(ErrorReason.TASK_FINISHED, `the task ${task} has an outcome`, { metadata });
    case "conflictingOutcome":
      return createFailure(ErrorReason.CONFLICTING_OUTCOME, `the task ${task} has another outcome`, {
        metadata: {
          ...metadata,
          delivery_id: refusal.deliveryId,
          ...(refusal.isByGateway ? { outcome_by: "gateway" } : {}),
        },
      });
    case "full":
      return createFailure(ErrorReason.OUTBOX_FULL, `the outbox has no room: ${refusal.limit}`, {
        metadata,
        retryAfterMs: fullRetryMs,
      });
    default:
      return refusal satisfies never;
  }
}

const fullRetryMs = 5000;

// Not INTERNAL: a client that comes again may find the store, or another one.
function notStored(upstream: string): Failure {
  return createFailure(ErrorReason.INTERNAL, "the report could not be stored", {
    code: Code.Unavailable,
    metadata: { upstream },
    retryAfterMs: 1000,
  });
}

function rejectionOf(row: DeliveryRow): Failure {
  const failure = failureOf(row) ?? createFailure(ErrorReason.UPSTREAM_REJECTED, "the upstream refused it");
  return { ...failure, metadata: { ...failure.metadata, delivery_id: row.id } };
}
