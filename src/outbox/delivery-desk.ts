import { create } from "@bufbuild/protobuf";
import { type Delivery, DeliverySchema } from "../../gen/taskgate/v1/gateway_pb.ts";
import type { DeliveryChange, DeliveryDesk, DeliveryFilter, DeliveryMove } from "../model/delivery-desk.ts";
import type { Clock } from "./clock.ts";
import { deliveryIdOf, seqOfDeliveryId } from "./delivery-id.ts";
import { deliveryMatches } from "./delivery-matches.ts";
import type { Outbox } from "./outbox.ts";
import { receiptOf } from "./receipt.ts";
import type { DeliveryRow, Store } from "./store.ts";

/** A desk that is told of changes. */
export interface FedDeliveryDesk extends DeliveryDesk {
  tell(row: DeliveryRow): void;
}

type Tell = (row: DeliveryRow) => void;

// A watcher who is so far behind hears that it has missed something.
const maxBehind = 1000;
const idleMs = 15_000;

/** Creates the desk of an outbox. */
export function createDeliveryDesk(
  store: Store,
  outbox: () => Pick<Outbox, "waitFor" | "moved">,
  clock: Clock,
): FedDeliveryDesk {
  const watchers = new Set<Tell>();

  // An id holds its time as well: one that only has the number of a row is no id.
  async function find(id: string): Promise<DeliveryRow | undefined> {
    const seq = seqOfDeliveryId(id, store.salt);
    const row = seq === undefined ? undefined : await store.run({ type: "get", seq });
    return row?.id === id ? row : undefined;
  }

  async function move(type: "retry" | "discard", id: string): Promise<DeliveryMove> {
    const row = await find(id);
    if (row === undefined) {
      return { kind: "unknown" };
    }
    const result = await store.run({ type, seq: row.seq, nowMs: clock.now() });
    if (result.kind !== "moved") {
      return result;
    }
    outbox().moved(result.row, result.lane);
    return { kind: "moved", delivery: deliveryOf(result.row) };
  }

  function tell(row: DeliveryRow): void {
    for (const watcher of watchers) {
      watcher(row);
    }
  }

  return {
    tell,
    retry: (id) => move("retry", id),
    discard: (id) => move("discard", id),

    async get(id, waitMs, signal) {
      const row = await find(id);
      if (row === undefined) {
        return undefined;
      }
      return deliveryOf(waitMs > 0 ? await outbox().waitFor(row, waitMs, signal) : row);
    },

    async list(filter, token, limit) {
      const afterSeq = token === "" ? 0 : seqOfDeliveryId(token, store.salt);
      if (afterSeq === undefined) {
        return undefined;
      }
      const { rows, lastSeq } = await store.run({ type: "list", filter, afterSeq, limit });
      return {
        deliveries: rows.map(deliveryOf),
        nextToken: lastSeq === null ? "" : deliveryIdOf(lastSeq, 0, store.salt),
      };
    },

    watch: (filter, signals) => watch(watchers, filter, signals, clock),
  };
}

async function* watch(
  watchers: Set<Tell>,
  filter: DeliveryFilter,
  signals: readonly AbortSignal[],
  clock: Clock,
): AsyncGenerator<DeliveryChange, void, undefined> {
  let waiting: DeliveryRow[] = [];
  let hasGap = false;
  let wake: () => void = () => undefined;
  function onChange(row: DeliveryRow): void {
    if (!deliveryMatches(row, filter)) {
      return;
    }
    if (waiting.length < maxBehind) {
      waiting.push(row);
    } else {
      hasGap = true;
    }
    wake();
  }
  // By the signals as well: a generator whose client has vanished may never be resumed.
  function release(): void {
    watchers.delete(onChange);
    wake();
  }

  watchers.add(onChange);
  for (const signal of signals) {
    signal.addEventListener("abort", release, { once: true });
  }
  try {
    // A client cannot know otherwise from when on it is told of everything.
    yield { kind: "idle" };
    while (!signals.some(({ aborted }) => aborted)) {
      const rows = waiting;
      waiting = [];
      for (const row of rows) {
        yield { kind: "changed", delivery: deliveryOf(row) };
      }
      if (hasGap) {
        hasGap = false;
        yield { kind: "gap" };
      } else if (rows.length === 0 && !(await changed(clock, (run) => (wake = run)))) {
        yield { kind: "idle" };
      }
    }
  } finally {
    release();
    for (const signal of signals) {
      signal.removeEventListener("abort", release);
    }
  }
}

// False: nothing has happened for a while.
function changed(clock: Clock, onWake: (wake: () => void) => void): Promise<boolean> {
  return new Promise((resolve) => {
    const cancel = clock.setTimer(() => resolve(false), idleMs);
    onWake(() => {
      cancel();
      resolve(true);
    });
  });
}

function deliveryOf(row: DeliveryRow): Delivery {
  return create(DeliverySchema, {
    receipt: receiptOf(row),
    upstream: row.upstream,
    operation: row.operation,
    taskId: row.taskId,
    taskAttempt: row.attempt,
    endsTask: row.kind === "outcome",
    caller: row.isByGateway ? "gateway" : row.caller,
    payloadBytes: BigInt(row.payloadBytes),
  });
}
