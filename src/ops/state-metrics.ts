import { Gauge, type Registry } from "@prometheus-io/client";

/** What waits for an upstream. */
export interface Waiting {
  upstream: string;
  rows: number;
  bytes: number;
  /** When the oldest of it was accepted. Wall clock. Null: nothing waits. */
  oldestMs: number | null;
}

/** How it stands with an origin that deliveries go to. */
export interface LaneState {
  upstream: string;
  /** A name for the origin; no secret. */
  lane: string;
  /** Attempts are kept away from it, because it is in trouble. */
  isBreakerOpen: boolean;
  /** It refuses the gateway's credentials. */
  isUnauthorized: boolean;
}

/** The gateway's state, as it is looked at when somebody asks for metrics. */
export interface GatewayState {
  /** Rejects when the store cannot tell. */
  waiting(): Promise<readonly Waiting[]>;
  lanes(): readonly LaneState[];
  /** How many sessions hold leases, and how many leases there are, by upstream. */
  leases(): readonly { upstream: string; sessions: number; leases: number }[];
  /** Workers on streams of `Work`, and those whose session is kept for them. */
  workers(): number;
  isReady(): boolean;
  isDraining(): boolean;
  /** How much may wait per upstream. */
  maxWaiting: { rows: number; bytes: number };
}

export interface StateMetricsOptions {
  registry: Registry;
  upstreams: readonly string[];
  state: GatewayState;
  /** The wall clock. */
  now: () => number;
  setTimer: (run: () => void, delayMs: number) => () => void;
}

// A store that does not answer must not keep the metrics from saying so.
const storeTimeoutMs = 2000;

/** Creates the gauges of the gateway's state. Returns how to bring them up to date. */
export function createStateMetrics(options: StateMetricsOptions): () => Promise<void> {
  const { registry, upstreams, state, now } = options;
  const gauge = <Label extends string = never>(
    name: string,
    help: string,
    labelNames: readonly Label[] = [],
  ) => new Gauge({ name, help, labelNames, registers: [registry] });

  const isStoreUp = gauge("taskgate_outbox_up", "1 while the store tells what waits in it.");
  const rows = gauge("taskgate_outbox_deliveries", "Deliveries that wait for their upstream.", ["upstream"]);
  const bytes = gauge("taskgate_outbox_bytes", "Bytes of their payloads.", ["upstream"]);
  const age = gauge("taskgate_outbox_oldest_age_seconds", "Age of the oldest of them; 0: none waits.", [
    "upstream",
  ]);
  const maxRows = gauge("taskgate_outbox_max_deliveries", "How many may wait per upstream.");
  const maxBytes = gauge("taskgate_outbox_max_bytes", "How many bytes may wait per upstream.");
  const breaker = gauge(
    "taskgate_upstream_breaker_open",
    "1 while attempts are kept away from an origin because it is in trouble.",
    ["upstream", "lane"],
  );
  const unauthorized = gauge(
    "taskgate_upstream_unauthorized",
    "1 while an origin refuses the gateway's credentials.",
    ["upstream", "lane"],
  );
  const sessions = gauge("taskgate_sessions", "Sessions that hold a lease.", ["upstream"]);
  const leases = gauge("taskgate_leases", "Tasks that a worker holds by a lease.", ["upstream"]);
  const workers = gauge("taskgate_workers", "Workers that have subscribed to tasks of Aidbox.");
  const ready = gauge("taskgate_ready", "1 while the gateway takes calls, as /readyz says.");
  const draining = gauge("taskgate_draining", "1 once the gateway has begun to stop.");
  maxRows.set(state.maxWaiting.rows);
  maxBytes.set(state.maxWaiting.bytes);

  async function refreshOutbox(): Promise<void> {
    const waiting = await within(state.waiting(), storeTimeoutMs, options.setTimer);
    isStoreUp.set(waiting === undefined ? 0 : 1);
    for (const upstream of upstreams) {
      if (waiting === undefined) {
        // What is not known is not there, rather than what it was.
        rows.remove({ upstream });
        bytes.remove({ upstream });
        age.remove({ upstream });
        continue;
      }
      const own = waiting.filter((each) => each.upstream === upstream);
      const oldestMs = Math.min(...own.map((each) => each.oldestMs ?? Number.POSITIVE_INFINITY));
      rows.set({ upstream }, sum(own.map((each) => each.rows)));
      bytes.set({ upstream }, sum(own.map((each) => each.bytes)));
      age.set({ upstream }, Number.isFinite(oldestMs) ? Math.max(0, now() - oldestMs) / 1000 : 0);
    }
  }

  return async () => {
    for (const { upstream, lane, isBreakerOpen, isUnauthorized } of state.lanes()) {
      breaker.set({ upstream, lane }, isBreakerOpen ? 1 : 0);
      unauthorized.set({ upstream, lane }, isUnauthorized ? 1 : 0);
    }
    const held = new Map(state.leases().map((each) => [each.upstream, each]));
    for (const upstream of upstreams) {
      sessions.set({ upstream }, held.get(upstream)?.sessions ?? 0);
      leases.set({ upstream }, held.get(upstream)?.leases ?? 0);
    }
    workers.set(state.workers());
    ready.set(state.isReady() ? 1 : 0);
    draining.set(state.isDraining() ? 1 : 0);
    await refreshOutbox();
  };
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}

// Undefined: it failed, or took too long.
function within<Value>(
  promise: Promise<Value>,
  timeoutMs: number,
  setTimer: StateMetricsOptions["setTimer"],
): Promise<Value | undefined> {
  return new Promise((resolve) => {
    const cancel = setTimer(() => resolve(undefined), timeoutMs);
    promise
      .catch(() => undefined)
      .then((value) => {
        cancel();
        resolve(value);
      });
  });
}
