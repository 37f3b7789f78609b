import { randomUUID } from "node:crypto";
import { file_google_rpc_error_details } from "../gen/google/rpc/error_details_pb.ts";
import { Health } from "../gen/grpc/health/v1/health_pb.ts";
import { joinCallbackProgress } from "./callback-progress.ts";
import type { Config } from "./config/config.ts";
import type { GatewayLeases } from "./gateway-leases.ts";
import { type GatewayWork, mergeSessions } from "./gateway-work.ts";
import type { DeliveryDesk } from "./model/delivery-desk.ts";
import type { Log } from "./model/log.ts";
import type { Route } from "./model/route.ts";
import type { Outbox } from "./outbox/outbox.ts";
import type { Store } from "./outbox/store.ts";
import { createCallbackRoute } from "./rpc/callback.ts";
import { createExecutorRoute } from "./rpc/executor.ts";
import { createGatewayRoute } from "./rpc/gateway-service.ts";
import { createHealthRoute, createServingState, type ServingState } from "./rpc/health.ts";
import { createReflectionRoutes } from "./rpc/reflection.ts";
import type { StreamDeps } from "./rpc/stream-deps.ts";
import { createTaskStatusRoute } from "./rpc/task-status.ts";
import { aidboxCapabilities, attemptTask, prepareTaskOutcome } from "./upstream/aidbox.ts";
import { orchestraCapabilities, prepareRunReport, runTask } from "./upstream/orchestra.ts";
import { callbackLease, orchestratorCapabilities, prepareCallback } from "./upstream/orchestrator.ts";
import type { Upstreams } from "./upstreams.ts";

// A proxy that cuts idle streams after a minute never sees one.
const streamKeepAliveMs = 20_000;

export interface GatewayRoutesDeps extends Pick<StreamDeps, "openStreams" | "now" | "setTimer"> {
  config: Config;
  version: string;
  upstreams: Upstreams;
  leases: GatewayLeases;
  /** Undefined: there is no Aidbox. */
  work: GatewayWork | undefined;
  outbox: Outbox;
  desk: DeliveryDesk;
  store: Store;
  isDraining: () => boolean;
  drain: () => void;
  /** Ends what watches without end. */
  stopping: AbortSignal;
  log: Log;
}

/** What is served. */
export interface GatewayRoutes {
  routes: readonly Route[];
  /** What health tells of it. */
  serving: ServingState;
}

/** Joins the services of the contract with what is behind them, and adds health and reflection. */
export function joinRoutes(deps: GatewayRoutesDeps): GatewayRoutes {
  const { config, version, upstreams, leases, work, outbox, desk, store, log } = deps;
  const { openStreams, now, setTimer, isDraining, drain, stopping } = deps;
  const { limits, heartbeatIntervalMs, leaseDurationMs } = config;
  const { orchestra, orchestrator, aidbox } = upstreams;
  const streams: StreamDeps = {
    leases: leases.book,
    acceptedRequests: leases.acceptedRequests,
    outcomeEnd: leases.outcomeEnd,
    leaseDurationMs,
    heartbeatIntervalMs,
    keepAliveMs: streamKeepAliveMs,
    limits,
    now,
    setTimer,
    openStreams,
    onUnexpectedError: (error) => log.error("a stream failed unexpectedly", error),
  };
  const upstreamNames = upstreams.infos.map(({ name }) => name);
  const services = [
    createTaskStatusRoute({
      ...streams,
      report: orchestra && ((report, options) => leases.submit(prepareRunReport(report), options)),
      defaultRun: config.orchestra?.defaultRun,
      taskOf: runTask,
      capabilities: orchestraCapabilities,
    }),
    createCallbackRoute({
      ...streams,
      bases: upstreams.callbackBases,
      complete: (target, body, options) => leases.submit(prepareCallback(target, body), options),
      progress: joinCallbackProgress(orchestrator, () => outbox, leases.book),
      leaseOf: callbackLease,
      capabilities: orchestratorCapabilities,
    }),
    createExecutorRoute({
      ...streams,
      upstream: aidbox && work && { ...aidbox, ...work },
      report: (outcome, options) => leases.submit(prepareTaskOutcome(outcome), options),
      taskOf: attemptTask,
      capabilities: aidboxCapabilities,
      isDraining,
      randomId: randomUUID,
    }),
    createGatewayRoute({
      version,
      upstreams: upstreams.infos,
      durable: true,
      requestIdRetentionMs: config.outbox.retentionMs,
      limits,
      heartbeatIntervalMs,
      leaseDurationMs,
      now,
      isDraining,
      sessions: {
        sessions: () => mergeSessions(leases.book.list(), work?.pool.list() ?? []),
        upstreams: upstreamNames,
        drain,
        async undelivered() {
          const backlog = await store.run({ type: "backlog" });
          return backlog.reduce((sum, { rows }) => sum + rows, 0);
        },
      },
      deliveries: {
        desk,
        upstreams: upstreamNames,
        stopping,
      },
    }),
  ];
  const descriptions = services.map(({ service }) => service);
  const serving = createServingState(descriptions.map(({ typeName }) => typeName));
  const routes = [
    ...services,
    createHealthRoute(serving, stopping),
    ...createReflectionRoutes([...descriptions, Health], [file_google_rpc_error_details], stopping),
  ];
  return { routes, serving };
}
