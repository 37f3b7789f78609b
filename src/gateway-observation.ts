import type { Config } from "./config/config.ts";
import type { GatewaySecrets } from "./gateway-secrets.ts";
import type { CallObserver } from "./model/call-observer.ts";
import type { DeliveryObserver } from "./model/delivery-observer.ts";
import type { LeaseRecord } from "./model/lease.ts";
import type { Log } from "./model/log.ts";
import { pathOf, type Route } from "./model/route.ts";
import type { TraceContext } from "./model/trace-context.ts";
import type { MetricText } from "./ops/metric-text.ts";
import type { Metrics } from "./ops/metrics.ts";
import { createCallObserver } from "./ops/observe-calls.ts";
import { createDeliveryObserver } from "./ops/observe-deliveries.ts";
import { observeLog } from "./ops/observe-log.ts";
import type { GatewayState } from "./ops/state-metrics.ts";
import type { Tracer } from "./ops/tracer.ts";
import type { Clock } from "./outbox/clock.ts";
import type { ObserveRequests } from "./upstreams.ts";

export interface ObservationDeps {
  config: Config;
  version: string;
  log: Log;
  clock: Clock;
}

/** What the layers tell, joined with what makes metrics, traces and lines of it. */
export interface Observation {
  /** The log, with the trace that a line belongs to. */
  log: Log;
  deliveries: DeliveryObserver;
  /** Undefined: nobody wants to know. */
  requests: ObserveRequests | undefined;
  /** Undefined: nothing is traced. */
  currentTrace: (() => TraceContext | undefined) | undefined;
  onLeaseExpired(lease: LeaseRecord): void;
  /** Follows the files of secrets from now on. */
  follow(secrets: Pick<GatewaySecrets, "live">): void;
  /** Observes the calls of what is served. Undefined: nobody wants to know. */
  calls(routes: readonly Route[]): CallObserver | undefined;
  /** Gives what `/metrics` says of a gateway. Undefined: there are no metrics. */
  metricsOf(state: GatewayState): ((accept: string | undefined) => Promise<MetricText>) | undefined;
  /** Sends the traces that wait, for so long at most. */
  close(timeoutMs: number): Promise<void>;
}

const upstreams = ["orchestra", "orchestrator", "aidbox"];
const steadyNow = () => performance.now();

/**
 * Begins to observe. What makes metrics and traces is loaded only where somebody can
 * ask for them: without it a call costs nothing more, and the start no time.
 */
export async function observeGateway(deps: ObservationDeps): Promise<Observation> {
  const { config, clock } = deps;
  const metrics = config.opsListen === undefined ? undefined : await loadMetrics(deps.version);
  const secret = config.tracing?.headers;
  let headers = () => secret?.parse(secret.text()) ?? {};
  const tracer = config.tracing && (await loadTracer(config.tracing, () => headers(), deps, metrics));
  const log = observeLog(deps.log, metrics?.logged, tracer);
  const observers = { tracer, log, isVerbose: config.logLevel === "debug", now: steadyNow };

  return {
    log,
    deliveries: createDeliveryObserver({ ...observers, metrics: metrics?.deliveries }),
    requests:
      metrics === undefined && tracer === undefined
        ? undefined
        : (upstream, kind) => ({
            // What asks for all workers belongs to none of them.
            traceHeaders: kind === "work_poll" ? undefined : tracer && (() => headersOf(tracer.current())),
            ended: metrics?.requests(upstream, kind) ?? (() => undefined),
          }),
    currentTrace: tracer?.current,
    follow(secrets) {
      headers = secret === undefined ? headers : secrets.live(secret);
    },
    onLeaseExpired: ({ task, onLost }) => metrics?.leaseLost(task.upstream, onLost),
    calls: (routes) =>
      createCallObserver({ ...observers, metrics: metrics?.calls(routes.flatMap(methodsOf)) }),
    metricsOf(state) {
      metrics?.watch({ state, now: clock.now, setTimer: clock.setTimer });
      return metrics?.text;
    },
    async close(timeoutMs) {
      await tracer?.close(timeoutMs);
    },
  };
}

async function loadTracer(
  tracing: NonNullable<Config["tracing"]>,
  headers: () => Record<string, string>,
  { version, log }: ObservationDeps,
  metrics: Metrics | undefined,
): Promise<Tracer> {
  const { createOtlpTracer } = await import("./ops/otlp-tracer.ts");
  let isTaken = true;
  return createOtlpTracer({
    ...tracing,
    headers,
    resource: { "service.name": "taskgate", "service.version": version, ...tracing.resource },
    version,
    onExported(count, error) {
      metrics?.spans(count, error === undefined);
      // Once, and not every second.
      if (isTaken !== (error === undefined)) {
        isTaken = error === undefined;
        if (error === undefined) {
          log.info("the collector takes spans again");
        } else {
          log.warn("the collector does not take spans", { why: error.message });
        }
      }
    },
    onDropped: (count) => metrics?.spans(count, false),
  });
}

function headersOf(trace: TraceContext | undefined): Record<string, string> | undefined {
  if (trace === undefined) {
    return undefined;
  }
  const { traceparent, tracestate } = trace;
  return tracestate === "" ? { traceparent } : { traceparent, tracestate };
}

async function loadMetrics(version: string): Promise<Metrics> {
  const { createMetrics } = await import("./ops/metrics.ts");
  return createMetrics({ version, nodeVersion: process.version, upstreams });
}

function methodsOf({ service }: Route) {
  return service.methods.map(({ name, methodKind }) => ({
    path: pathOf(service, name),
    isUnary: methodKind === "unary",
  }));
}
