import { collectDefaultMetrics, Registry } from "@prometheus-io/client";

// How finely delays of the event loop are seen. Each look costs a wake-up, and what Node
// tells is the time between two looks: this is none.
const eventLoopPrecisionMs = 50;
// The same goes for how busy the loop is, of which each look is also a sum to keep.
const eventLoopUtilizationMs = 1000;

/** Creates a registry with the metrics of the process and of Node. */
export function createRegistry(): Registry {
  const registry = new Registry();
  collectDefaultMetrics({
    register: registry,
    eventLoopMonitoringPrecision: eventLoopPrecisionMs,
    eventLoopUtilizationTimeout: eventLoopUtilizationMs,
  });
  return registry;
}
