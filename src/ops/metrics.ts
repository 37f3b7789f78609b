import { Counter, Gauge } from "@prometheus-io/client";
import type { RequestKind } from "../model/request-observer.ts";
import { type CallMetrics, createCallMetrics, type ServedMethod } from "./call-metrics.ts";
import { createDeliveryMetrics, type DeliveryMetrics } from "./delivery-metrics.ts";
import { type MetricText, metricText } from "./metric-text.ts";
import { createRegistry } from "./registry.ts";
import { type CountRequest, createRequestMetrics } from "./request-metrics.ts";
import { createStateMetrics, type StateMetricsOptions } from "./state-metrics.ts";

export interface MetricsOptions {
  version: string;
  nodeVersion: string;
  upstreams: readonly string[];
}

/** All that the gateway measures. */
export interface Metrics {
  calls(methods: readonly ServedMethod[]): CallMetrics;
  deliveries: DeliveryMetrics;
  requests: (upstream: string, kind: RequestKind) => CountRequest;
  /** A lease has run out. */
  leaseLost(upstream: string, onLost: string): void;
  /** A line was logged. */
  logged(level: string): void;
  /** Spans were taken by the collector, or given up. */
  spans(count: number, isExported: boolean): void;
  /** Looks at this state whenever somebody asks. Until then there are no gauges of it. */
  watch(state: Omit<StateMetricsOptions, "registry" | "upstreams">): void;
  /** All metrics, in the format that `Accept` prefers. */
  text(accept: string | undefined): Promise<MetricText>;
}

/** Creates the metrics of a gateway. */
export function createMetrics({ version, nodeVersion, upstreams }: MetricsOptions): Metrics {
  const registry = createRegistry();
  const registers = [registry];
  new Gauge({
    name: "taskgate_build_info",
    help: "1; the labels say what runs.",
    labelNames: ["version", "node_version"],
    registers,
  }).set({ version, node_version: nodeVersion }, 1);
  const lost = new Counter({
    name: "taskgate_leases_lost_total",
    help: "Leases that ran out, by what was to be done then.",
    labelNames: ["upstream", "on_lost"],
    registers,
  });
  const lines = new Counter({
    name: "taskgate_log_lines_total",
    help: "Lines logged, by level.",
    labelNames: ["level"],
    registers,
  });
  const spans = new Counter({
    name: "taskgate_trace_spans_total",
    help: "Spans that the collector took, and those that were given up because it did not, or not fast enough.",
    labelNames: ["result"],
    registers,
  });
  for (const upstream of upstreams) {
    lost.inc({ upstream, on_lost: "fail" }, 0);
    lost.inc({ upstream, on_lost: "ignore" }, 0);
  }
  lines.inc({ level: "warn" }, 0);
  lines.inc({ level: "error" }, 0);
  let refresh: () => Promise<void> = async () => undefined;
  let underWay: Promise<string> | undefined;

  async function collect(): Promise<string> {
    try {
      await refresh();
      return await registry.metrics();
    } finally {
      underWay = undefined;
    }
  }

  return {
    calls: (methods) => createCallMetrics(registry, methods),
    deliveries: createDeliveryMetrics(registry, upstreams),
    requests: createRequestMetrics(registry),
    leaseLost: (upstream, onLost) => lost.inc({ upstream, on_lost: onLost }),
    logged: (level) => lines.inc({ level }),
    spans: (count, isExported) => spans.inc({ result: isExported ? "exported" : "dropped" }, count),
    watch(options) {
      refresh = createStateMetrics({ ...options, registry, upstreams });
    },
    async text(accept) {
      // However many ask at once, it is collected once.
      underWay ??= collect();
      return metricText(await underWay, accept);
    },
  };
}
