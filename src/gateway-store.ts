import type { Config } from "./config/config.ts";
import { openWorkerStore, type WorkerStore } from "./outbox/worker-store.ts";

/** The part of what may wait that is kept for outcomes. */
const outcomeReserve = 0.1;

/** A gateway's store, and word of its end. */
export interface GatewayStore {
  store: Promise<WorkerStore>;
  /** Resolves once nothing can be stored safely any more: the gateway must be stopped. */
  failed: Promise<Error>;
}

/**
 * Opens the store that a gateway is configured with. It is on a thread of its own, so
 * it costs no time beside the loading of the gateway.
 */
export function openGatewayStore({ outbox }: Pick<Config, "outbox">): GatewayStore {
  const failed = Promise.withResolvers<Error>();
  const { directory, maxRows, maxBytes } = outbox;
  const store = openWorkerStore({
    directory,
    quota: { maxRows, maxBytes, outcomeReserve },
    onFatal: failed.resolve,
  });
  // Whoever waits for the store hears of it.
  store.catch(() => undefined);
  return { store, failed: failed.promise };
}
