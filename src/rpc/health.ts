import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import { Health, HealthCheckResponse_ServingStatus as Status } from "../../gen/grpc/health/v1/health_pb.ts";
import { createRoute, type Route } from "../model/route.ts";
import { tooManyCalls } from "./errors.ts";

/** How many may watch at once: each needs no token and may stay for ever. */
export const maxWatchers = 1000;

/** Says which services are served, and tells who listens when that changes. */
export interface ServingState {
  /** Undefined: there is no such service. The empty name is the whole server. */
  isServing(service: string): boolean | undefined;
  services(): readonly string[];
  /** Sets all services at once. */
  set(isServing: boolean): void;
  /** Calls `listener` after each change, until the returned function is called. */
  onChange(listener: () => void): () => void;
}

/** Creates the state of the named services, which are not served until `set`. */
export function createServingState(serviceNames: readonly string[]): ServingState {
  const names = new Set(["", ...serviceNames]);
  const listeners = new Set<() => void>();
  let current = false;
  return {
    isServing: (service) => (names.has(service) ? current : undefined),
    services: () => [...names],
    set(isServing) {
      current = isServing;
      for (const listener of listeners) {
        listener();
      }
    },
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/**
 * Creates gRPC's standard health service, for everybody: a probe has no token, and
 * learns nothing but what is served. Watchers are let go when `stopping` aborts.
 */
export function createHealthRoute(state: ServingState, stopping: AbortSignal): Route {
  return createRoute(Health, createHealthService(state, stopping), "public");
}

function createHealthService(state: ServingState, stopping: AbortSignal): ServiceImpl<typeof Health> {
  let watchers = 0;
  function statusOf(service: string): Status {
    const isServing = state.isServing(service);
    if (isServing === undefined) {
      return Status.SERVICE_UNKNOWN;
    }
    return isServing ? Status.SERVING : Status.NOT_SERVING;
  }
  return {
    check({ service }) {
      const status = statusOf(service);
      if (status === Status.SERVICE_UNKNOWN) {
        throw new ConnectError(`unknown service ${service.slice(0, 100)}`, Code.NotFound);
      }
      return { status };
    },

    list: () => ({
      statuses: Object.fromEntries(state.services().map((name) => [name, { status: statusOf(name) }])),
    }),

    async *watch({ service }, { signal }) {
      if (watchers >= maxWatchers) {
        throw tooManyCalls(maxWatchers);
      }
      watchers += 1;
      let isCounted = true;
      function leave(): void {
        watchers -= isCounted ? 1 : 0;
        isCounted = false;
      }
      signal.addEventListener("abort", leave, { once: true });
      let last: Status | undefined;
      try {
        while (!signal.aborted) {
          const status = statusOf(service);
          if (status !== last) {
            last = status;
            yield { status };
          } else if (stopping.aborted) {
            return;
          } else {
            await nextChange(state, signal, stopping);
          }
        }
      } finally {
        leave();
      }
    },
  };
}

// Everything is released by the signals as well: a generator whose client has
// vanished may never be resumed.
function nextChange(state: ServingState, ...signals: readonly AbortSignal[]): Promise<void> {
  return new Promise((resolve) => {
    function done(): void {
      stop();
      for (const signal of signals) {
        signal.removeEventListener("abort", done);
      }
      resolve();
    }
    const stop = state.onChange(done);
    for (const signal of signals) {
      signal.addEventListener("abort", done, { once: true });
    }
    if (signals.some((signal) => signal.aborted)) {
      done();
    }
  });
}
