import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { DeliveryState, ReceiptSchema } from "../../gen/taskgate/v1/receipt_pb.ts";
import type { DeliveryUpstream, NewDelivery } from "../model/delivery.ts";
import type { CreateDeliveryId } from "../model/delivery-id.ts";
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
   * Sends a report. Reports of one task leave in the order of their calls, one
   * at a time.
   */
  submit(delivery: NewDelivery, options: SubmitOptions): Promise<Submission>;
  /** The last status that was accepted for a task, as far as it is remembered. */
  lastStatus(task: TaskName): string | undefined;
  /** Does something else for a task, in the same order as its reports. */
  inOrder<Result>(task: TaskName, run: () => Promise<Result>): Promise<Result>;
}

/** Creates an outbox that stores nothing. */
export function createDirectOutbox(deps: DirectOutboxDeps): DirectOutbox {
  const tails = new Map<string, Promise<unknown>>();
  const statuses = createRecentMap<string>(10_000);

  async function inOrder<Result>(task: TaskName, run: () => Promise<Result>): Promise<Result> {
    const key = nameText(task);
    const before = tails.get(key);
    const result = before === undefined ? run() : before.then(run);
    const tail = result.catch(() => undefined);
    tails.set(key, tail);
    try {
      return await result;
    } finally {
      if (tails.get(key) === tail) {
        tails.delete(key);
      }
    }
  }

  return {
    inOrder,
    lastStatus: (task) => statuses.get(nameText(task)),
    async submit(delivery, options) {
      const deliveryId = deps.createDeliveryId();
      const createTime = timestampFromMs(deps.now());
      const upstream = deps.upstreams.get(delivery.upstream);
      if (upstream === undefined) {
        throw new Error(`there is no upstream ${delivery.upstream}`);
      }
      const result = await inOrder(delivery, () => upstream.send(delivery, options.signal));
      if (result.kind !== "accepted") {
        const metadata = { ...result.failure.metadata, attempt: "1", delivery_id: deliveryId };
        return { kind: "failed", failure: { ...result.failure, metadata } };
      }
      if (delivery.status !== undefined) {
        statuses.set(nameText(delivery), delivery.status);
      }
      const receipt = create(ReceiptSchema, {
        deliveryId,
        state: DeliveryState.DELIVERED,
        attempts: 1,
        createTime,
        deliverTime: timestampFromMs(deps.now()),
      });
      return { kind: "accepted", receipt, answer: result.answer };
    },
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
