import { Histogram, type Registry } from "@prometheus-io/client";
import { DeliveryState } from "../../gen/taskgate/v1/receipt_pb.ts";
import type { AttemptResult } from "../model/attempt-result.ts";
import type { ObservedDelivery } from "../model/delivery-observer.ts";
import { createTally, type Tally } from "./tally.ts";

/** Counts deliveries and their attempts. */
export interface DeliveryMetrics {
  stored(delivery: ObservedDelivery): void;
  attempted(delivery: ObservedDelivery, result: AttemptResult["kind"]): void;
  ended(delivery: ObservedDelivery): void;
}

const kinds = ["status", "output", "log", "outcome"] as const;
const stateNames: ReadonlyMap<DeliveryState, string> = new Map([
  [DeliveryState.DELIVERED, "delivered"],
  [DeliveryState.UNCONFIRMED, "unconfirmed"],
  [DeliveryState.REJECTED, "rejected"],
  [DeliveryState.SUPERSEDED, "superseded"],
  [DeliveryState.DISCARDED, "discarded"],
]);
const resultNames: Readonly<Record<AttemptResult["kind"], string>> = {
  accepted: "accepted",
  rejected: "rejected",
  unconfirmed: "unconfirmed",
  unauthorized: "unauthorized",
  tooEarly: "too_early",
  unavailable: "unavailable",
  inDoubt: "in_doubt",
};
// From a commit to an outage over a weekend.
const ageBuckets = [
  0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 1800, 7200, 43_200, 172_800,
];

/** Creates the metrics of deliveries, with a series of 0 for all that may happen with these upstreams. */
export function createDeliveryMetrics(registry: Registry, upstreams: readonly string[]): DeliveryMetrics {
  const stored = createTally({
    registry,
    name: "taskgate_deliveries_stored_total",
    help: "Reports that were stored, by kind. A repetition is not stored again.",
    labelNames: ["upstream", "kind"],
  });
  const ended = createTally({
    registry,
    name: "taskgate_deliveries_ended_total",
    help: "Deliveries that came to their end, by the state that they ended in.",
    labelNames: ["upstream", "state"],
  });
  const attempts = createTally({
    registry,
    name: "taskgate_delivery_attempts_total",
    help: "Attempts to deliver, by what came of them.",
    labelNames: ["upstream", "result"],
  });
  const retries = createTally({
    registry,
    name: "taskgate_delivery_retries_total",
    help: "Attempts that were not the first of their delivery.",
    labelNames: ["upstream"],
  });
  const ages = new Histogram({
    name: "taskgate_delivery_duration_seconds",
    help: "From the moment a report was accepted to the moment its upstream took it.",
    labelNames: ["upstream"],
    buckets: ageBuckets,
    registers: [registry],
  });

  const of = new Map(
    upstreams.map((upstream) => [
      upstream,
      {
        stored: handles(kinds, (kind) => stored({ upstream, kind })),
        ended: handles([...stateNames.values()], (state) => ended({ upstream, state })),
        attempts: handles(Object.values(resultNames), (result) => attempts({ upstream, result })),
        retries: retries({ upstream }),
        age: ages.labels({ upstream }),
      },
    ]),
  );

  return {
    stored: ({ upstream, kind }) => of.get(upstream)?.stored.get(kind)?.add(),
    attempted({ upstream, attempts: count }, result) {
      const own = of.get(upstream);
      own?.attempts.get(resultNames[result])?.add();
      if (count > 1) {
        own?.retries.add();
      }
    },
    ended({ upstream, state, createMs, deliverMs }) {
      const own = of.get(upstream);
      own?.ended.get(stateNames.get(state) ?? "")?.add();
      if (deliverMs !== null) {
        // Of a clock that was set back.
        own?.age.observe(Math.max(0, deliverMs - createMs) / 1000);
      }
    },
  };
}

function handles(names: readonly string[], tallyOf: (name: string) => Tally): ReadonlyMap<string, Tally> {
  return new Map(names.map((name) => [name, tallyOf(name)]));
}
