import { Histogram, type Registry } from "@prometheus-io/client";
import type { RequestKind, RequestStatus } from "../model/request-observer.ts";
import { createTally, type Tally } from "./tally.ts";

/** Counts the requests of one kind to one upstream. */
export type CountRequest = (status: RequestStatus, elapsedMs: number) => void;

const durationBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30, 60, 120];

/** Creates the metrics of requests to upstreams; gives the way to count those of one. */
export function createRequestMetrics(
  registry: Registry,
): (upstream: string, kind: RequestKind) => CountRequest {
  const requests = createTally({
    registry,
    name: "taskgate_upstream_requests_total",
    help: "Requests to upstreams, by HTTP status, or not_sent, or broken: begun and without a whole answer.",
    labelNames: ["upstream", "kind", "status"],
  });
  const durations = new Histogram({
    name: "taskgate_upstream_request_duration_seconds",
    help: "How long requests to upstreams took that were answered. A long_poll waits there for something.",
    labelNames: ["upstream", "kind"],
    buckets: durationBuckets,
    registers: [registry],
  });
  return (upstream, kind) => {
    const duration = durations.labels({ upstream, kind });
    const tallies = new Map<RequestStatus, Tally>();
    return (status, elapsedMs) => {
      const counted = isUsual(status) ? status : "broken";
      const tally = tallies.get(counted) ?? requests({ upstream, kind, status: String(counted) });
      tallies.set(counted, tally);
      tally.add();
      if (typeof status === "number") {
        duration.observe(elapsedMs / 1000);
      }
    };
  };
}

// What an upstream says must not make as many series as there are numbers.
function isUsual(status: RequestStatus): boolean {
  return typeof status !== "number" || (status >= 200 && status < 600);
}
