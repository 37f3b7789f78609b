import { Code } from "@connectrpc/connect";
import { Gauge, Histogram, type Registry } from "@prometheus-io/client";
import type { CallCode } from "../model/call-observer.ts";
import { codeName } from "./code-name.ts";
import { createTally, type Tally } from "./tally.ts";

/** A method that is served. */
export interface ServedMethod {
  /** For example `/taskgate.v1.GatewayService/GetInfo`. */
  path: string;
  isUnary: boolean;
}

/** Counts calls. */
export interface CallMetrics {
  /** A call has come. Undefined: of a method that nobody serves. */
  begin(path: string): MetricsOfMethod;
  /** Something was called that nobody serves. */
  unknown(): void;
}

/** Counts the calls of one method. */
export interface MetricsOfMethod {
  began(): void;
  ended(code: CallCode, elapsedMs: number): void;
}

const labels = ["grpc_service", "grpc_method"] as const;
// From what a call without an upstream takes to the longest wait for a delivery.
const durationBuckets = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
];

/**
 * Creates the metrics of calls. There is one series per method that is served, whatever
 * callers ask for: all others together are one more, of the service `unknown`.
 */
export function createCallMetrics(registry: Registry, methods: readonly ServedMethod[]): CallMetrics {
  const calls = createTally({
    registry,
    name: "taskgate_rpc_calls_total",
    help: "Calls that have ended, streams too, by gRPC code.",
    labelNames: [...labels, "grpc_code"],
  });
  const durations = new Histogram({
    name: "taskgate_rpc_duration_seconds",
    help: "How long unary calls took, from their head to their answer.",
    labelNames: labels,
    buckets: durationBuckets,
    registers: [registry],
  });
  const known = methods.map((method) => [method.path, createMethod(method)] as const);
  const byPath = new Map(known);
  const unknown = createMethod({ path: "/unknown/unknown", isUnary: false });
  new Gauge({
    name: "taskgate_rpc_in_flight",
    help: "Calls under way; of a stream, as long as it is open.",
    labelNames: labels,
    registers: [registry],
    collect() {
      for (const [, { names, inFlight }] of known) {
        this.set(names, inFlight());
      }
    },
  });

  function createMethod({ path, isUnary }: ServedMethod) {
    const [, grpc_service = "", grpc_method = ""] = path.split("/");
    const names = { grpc_service, grpc_method };
    const duration = isUnary ? durations.labels(names) : undefined;
    const tallies: (Tally | undefined)[] = [];
    let inFlight = 0;
    return {
      names,
      inFlight: () => inFlight,
      began() {
        inFlight += 1;
      },
      ended(code: CallCode, elapsedMs: number) {
        inFlight -= 1;
        tallies[code] ??= calls({ ...names, grpc_code: codeName(code) });
        tallies[code].add();
        duration?.observe(elapsedMs / 1000);
      },
    };
  }

  return {
    begin: (path) => byPath.get(path) ?? unknown,
    unknown() {
      unknown.began();
      unknown.ended(Code.Unimplemented, 0);
    },
  };
}
