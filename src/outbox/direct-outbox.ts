import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import { DeliveryState, ReceiptSchema } from "../../gen/taskgate/v1/receipt_pb.ts";
import type { AttemptFailure, AttemptResult } from "../model/attempt-result.ts";
import type { DeliveryUpstream, NewDelivery } from "../model/delivery.ts";
import type { CreateDeliveryId } from "../model/delivery-id.ts";
import { createFailure } from "../model/failure.ts";
import type { Submission, SubmitOptions } from "../model/submission.ts";

type TaskName = Pick<NewDelivery, "upstream" | "key">;

export interface DirectOutboxDeps {
  /** Where reports are sent to, by name. */
  upstreams: ReadonlyMap<string, DeliveryUpstream>;
  /** The wall clock. */
  now: () => number;
  createDeliveryId: CreateDeliveryId;
}

/**
 * An outbox that stores nothing: a report is sent once, while its caller waits,
 * and its receipt says DELIVERED because nothing else would be true.
 */
export interface DirectOutbox {
  /**
   * Sends a report. Reports of one task leave in the order of their calls, one at a
   * time. A caller who gives up while another report is under way has sent nothing.
   */
  submit(delivery: NewDelivery, options: SubmitOptions): Promise<Submission>;
  /**
   * Does something else for a task, in the same order as its reports. Rejects with
   * the signal's reason, and does nothing, when it aborts before its turn.
   */
  inOrder<Result>(task: TaskName, signal: AbortSignal, run: () => Promise<Result>): Promise<Result>;
}

/** Creates an outbox that stores nothing. */
export function createDirectOutbox(deps: DirectOutboxDeps): DirectOutbox {
  const tails = new Map<string, Promise<unknown>>();
  const statuses = createRecentMap<string>(10_000);

  async function inOrder<Result>(
    task: TaskName,
    signal: AbortSignal,
    run: () => Promise<Result>,
  ): Promise<Result> {
    const name = nameText(task);
    const before = tails.get(name);
    const turn = before === undefined ? run() : before.then(() => runUnlessAborted(signal, run));
    const tail = turn.catch(() => undefined);
    tails.set(name, tail);
    void tail.then(() => {
      if (tails.get(name) === tail) {
        tails.delete(name);
      }
    });
    return before === undefined ? turn : unlessAborted(signal, before, turn);
  }

  async function send(delivery: NewDelivery, signal: AbortSignal): Promise<AttemptResult> {
    const upstream = deps.upstreams.get(delivery.upstream);
    if (upstream === undefined) {
      throw new Error(`there is no upstream ${delivery.upstream}`);
    }
    const { target, body } = delivery;
    const name = nameText(delivery);
    // Asked when its turn has come: the report before it may have changed the answer.
    const status =
      delivery.status ?? (delivery.statusDefault && (statuses.get(name) ?? delivery.statusDefault));
    const result = await upstream.send({ target, body, status }, signal);
    if (result.kind === "accepted" && status !== undefined) {
      statuses.set(name, status);
    }
    return result;
  }

  return {
    inOrder,
    async submit(delivery, options) {
      const deliveryId = deps.createDeliveryId();
      const createTime = timestampFromMs(deps.now());
      let attempts = 0;
      const result = await inOrder(delivery, options.signal, () => {
        attempts = 1;
        return send(delivery, options.signal);
      }).catch((error): AttemptResult => {
        if (attempts === 0) {
          return notSent(delivery.upstream);
        }
        throw error;
      });
      if (result.kind !== "accepted") {
        const metadata = {
          ...result.failure.metadata,
          attempt: String(attempts),
          delivery_id: deliveryId,
        };
        return { kind: "failed", failure: { ...result.failure, metadata } };
      }
      const receipt = create(ReceiptSchema, {
        deliveryId,
        state: DeliveryState.DELIVERED,
        attempts,
        createTime,
        deliverTime: timestampFromMs(deps.now()),
      });
      return { kind: "accepted", receipt, answer: result.answer };
    },
  };
}

async function runUnlessAborted<Result>(signal: AbortSignal, run: () => Promise<Result>): Promise<Result> {
  signal.throwIfAborted();
  return run();
}

// Waits for a turn; once it has come, the signal is the business of what runs then.
function unlessAborted<Result>(
  signal: AbortSignal,
  before: Promise<unknown>,
  turn: Promise<Result>,
): Promise<Result> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    void before.then(() => signal.removeEventListener("abort", onAbort));
    turn.then(resolve, reject);
  });
}

function notSent(upstream: string): AttemptFailure {
  return {
    kind: "unavailable",
    failure: createFailure(
      ErrorReason.UPSTREAM_UNAVAILABLE,
      "not sent: an earlier report of the task was still under way",
      { metadata: { upstream } },
    ),
  };
}

function nameText(task: TaskName): string {
  return `${task.upstream}/${task.key}`;
}

// Remembers the entries that were set last.
function createRecentMap<Value>(maxEntries: number) {
  const entries = new Map<string, Value>();
  return {
    get: (key: string) => entries.get(key),
    set(key: string, value: Value): void {
      entries.delete(key);
      entries.set(key, value);
      const [oldest] = entries.keys();
      if (entries.size > maxEntries && oldest !== undefined) {
        entries.delete(oldest);
      }
    },
  };
}
