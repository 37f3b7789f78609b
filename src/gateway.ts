import { randomUUID } from "node:crypto";
import { file_google_rpc_error_details } from "../gen/google/rpc/error_details_pb.ts";
import { Health } from "../gen/grpc/health/v1/health_pb.ts";
import { ErrorReason } from "../gen/taskgate/v1/error_reason_pb.ts";
import { joinCallbackProgress } from "./callback-progress.ts";
import type { Config } from "./config/config.ts";
import { joinLeases } from "./gateway-leases.ts";
import { type GatewayStore, openGatewayStore } from "./gateway-store.ts";
import { joinWork, mergeSessions } from "./gateway-work.ts";
import { listen } from "./listener/listener.ts";
import { createRpcHandler } from "./listener/rpc-handler.ts";
import { createFailure } from "./model/failure.ts";
import { formatListenAddress, type ListenAddress, type TcpAddress } from "./model/listen-address.ts";
import type { Log, LogFields } from "./model/log.ts";
import { serveProbes } from "./ops/probe-server.ts";
import type { Clock } from "./outbox/clock.ts";
import { createDeliveryDesk } from "./outbox/delivery-desk.ts";
import { startMaintenance } from "./outbox/maintenance.ts";
import { createOutbox } from "./outbox/outbox.ts";
import { startWaitingBeats } from "./outbox/waiting-beats.ts";
import { createAdmission } from "./rpc/admission.ts";
import { createCallbackRoute } from "./rpc/callback.ts";
import { describeError, errorFromFailure } from "./rpc/errors.ts";
import { createExecutorRoute } from "./rpc/executor.ts";
import { createGatewayRoute } from "./rpc/gateway-service.ts";
import { createHealthRoute, createServingState } from "./rpc/health.ts";
import { createReflectionRoutes } from "./rpc/reflection.ts";
import { createTaskStatusRoute } from "./rpc/task-status.ts";
import type { StreamDeps } from "./rpc/tracked-stream.ts";
import { tokensOf } from "./tokens.ts";
import { aidboxCapabilities, attemptTask, prepareLostTask, prepareTaskOutcome } from "./upstream/aidbox.ts";
import { orchestraCapabilities, prepareLostRun, prepareRunReport, runTask } from "./upstream/orchestra.ts";
import {
  callbackLease,
  orchestratorCapabilities,
  prepareCallback,
  prepareLostCallback,
} from "./upstream/orchestrator.ts";
import { createUpstreams } from "./upstreams.ts";

// Beyond these a peer gets no connection, or waits with its next call.
const maxConnections = 10_000;
const maxStreamsPerConnection = 1000;
const firstByteTimeoutMs = 10_000;
// A peer that vanished is noticed within two of them, and within its lease.
const maxPingIntervalMs = 15_000;
// How many attempts may be under way per origin: as many as there are connections.
const concurrencyPerOrigin = 64;
// How long a call may wait for a delivery before it is told that it is stored.
const maxDeliveryWaitMs = 30_000;
// A proxy that cuts idle streams after a minute never sees one.
const streamKeepAliveMs = 20_000;

export interface GatewayDeps {
  config: Config;
  version: string;
  log: Log;
  /** The wall clock. Default: the machine's. */
  now?: () => number;
  /** Where it stores reports. Default: opened as it is configured. */
  gatewayStore?: GatewayStore;
}

/** A gateway that serves. */
export interface Gateway {
  /** Where the RPCs are, with the port that was chosen where 0 was asked for. */
  address: ListenAddress;
  /** Where the probes are; undefined when they are off. */
  opsAddress: TcpAddress | undefined;
  /**
   * Stops: is not ready any more, takes no new connections, answers what is under
   * way within the drain timeout, then ends what is left.
   */
  stop(): Promise<void>;
}

/** Starts a gateway. Rejects when it cannot listen; then nothing is left open. */
export async function startGateway(deps: GatewayDeps): Promise<Gateway> {
  const { config, log, now = Date.now } = deps;
  const stopping = new AbortController();
  const { limits, heartbeatIntervalMs, leaseDurationMs } = config;
  const clock: Clock = { now, setTimer };
  const onUnexpectedError = (error: unknown) => log.error("the outbox failed unexpectedly", error);
  const onAlarm = (message: string, fields: LogFields) => log.error(message, undefined, fields);

  const { directory, retentionMs } = config.outbox;
  const { store: opening, failed } = deps.gatewayStore ?? openGatewayStore(config);
  const store = await opening;
  void failed.then((error) => log.error("the store has failed", error));
  if (store.damage !== undefined) {
    onAlarm(store.damage, { directory });
  }
  const upstreams = createUpstreams(config, now);
  const { orchestra, orchestrator, aidbox } = upstreams;
  const startMs = now() - performance.now();
  const steadyNow = () => startMs + performance.now();
  const leases = joinLeases({
    store,
    outbox: () => outbox,
    clock,
    steadyNow,
    leaseDurationMs,
    prepareLost: {
      orchestra: prepareLostRun,
      orchestrator: prepareLostCallback,
      aidbox: prepareLostTask,
    },
    log,
  });
  const work =
    aidbox && joinWork({ aidbox, leases, clock, steadyNow, heartbeatIntervalMs, random: Math.random, log });
  const openStreams: StreamDeps["openStreams"] = new Set();
  const streams: StreamDeps = {
    leases: leases.book,
    acceptedRequests: leases.acceptedRequests,
    leaseDurationMs,
    heartbeatIntervalMs,
    keepAliveMs: streamKeepAliveMs,
    limits,
    now,
    setTimer,
    openStreams,
    onUnexpectedError: (error) => log.error("a stream failed unexpectedly", error),
  };
  const desk = createDeliveryDesk(store, () => outbox, clock);
  const outbox = createOutbox({
    store,
    upstreams: upstreams.byName,
    clock,
    random: Math.random,
    concurrency: concurrencyPerOrigin,
    maxWaitMs: maxDeliveryWaitMs,
    onChange(row) {
      desk.tell(row);
      leases.onChange(row);
    },
    onAlarm,
    onWarning: log.warn,
    onUnexpectedError,
  });

  let isDraining = false;
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
      isDraining: () => isDraining,
      randomId: randomUUID,
    }),
    createGatewayRoute({
      version: deps.version,
      upstreams: upstreams.infos,
      durable: true,
      requestIdRetentionMs: retentionMs,
      limits,
      heartbeatIntervalMs,
      leaseDurationMs,
      now,
      isDraining: () => isDraining,
      sessions: {
        sessions: () => mergeSessions(leases.book.list(), work?.pool.list() ?? []),
        upstreams: upstreams.infos.map(({ name }) => name),
        drain,
        async undelivered() {
          const backlog = await store.run({ type: "backlog" });
          return backlog.reduce((sum, { rows }) => sum + rows, 0);
        },
      },
      deliveries: {
        desk,
        upstreams: upstreams.infos.map(({ name }) => name),
        stopping: stopping.signal,
      },
    }),
  ];
  const descriptions = services.map(({ service }) => service);
  const serving = createServingState(descriptions.map(({ typeName }) => typeName));
  const routes = [
    ...services,
    createHealthRoute(serving, stopping.signal),
    ...createReflectionRoutes([...descriptions, Health], [file_google_rpc_error_details], stopping.signal),
  ];
  const tokens = tokensOf(config);
  const handler = createRpcHandler({
    routes,
    admit: createAdmission({
      routes,
      tokens,
      allowedOrigins: config.allowedOrigins,
      loopbackHostOnly: config.listen.kind === "tcp" && tokens.length === 0,
    }),
    describe: describeError,
    allowedOrigins: config.allowedOrigins,
    deadlines: { defaultMs: limits.defaultWaitMs, maxMs: limits.maxWaitMs },
    maxMessageBytes: limits.maxMessageBytes,
    fastLane: config.fastLane,
    onUnexpectedError: (error, path) => log.error("the call failed unexpectedly", error, { rpc: path }),
  });

  // Before anybody can speak: whose session is whose is in the store.
  await leases.book.start();
  async function undo(): Promise<void> {
    leases.book.stop();
    await upstreams.close();
    await store.close();
  }
  const probes =
    config.opsListen === undefined
      ? undefined
      : await serveProbes({
          address: config.opsListen,
          isStarted: () => serving.isServing("") === true || stopping.signal.aborted,
          isReady: () => serving.isServing("") === true,
        }).catch(async (error) => {
          await undo();
          throw error;
        });
  const listener = await listen({
    address: config.listen,
    tls: config.tls,
    handler,
    maxConnections,
    maxStreams: maxStreamsPerConnection,
    firstByteTimeoutMs,
    pingIntervalMs: Math.min(maxPingIntervalMs, leaseDurationMs / 2),
  }).catch(async (error) => {
    await probes?.close();
    await undo();
    throw error;
  });
  await outbox.start();
  const stopMaintenance = startMaintenance({
    store,
    clock,
    steadyNow,
    retentionMs,
    verify: store.wasUnclean,
    onAlarm,
    onUnexpectedError,
  });
  const stopBeats =
    aidbox &&
    startWaitingBeats({
      store,
      clock,
      upstream: "aidbox",
      intervalMs: heartbeatIntervalMs,
      beat: ({ taskId, attempt }) => aidbox.heartbeat({ id: taskId, execId: attempt, message: "" }),
      onUnexpectedError,
    });
  serving.set(true);
  if (upstreams.infos.every(({ configured }) => !configured)) {
    log.warn("no upstream is configured: every report will be refused");
  }
  log.info("listening", {
    address: formatListenAddress(listener.address),
    ops: probes && formatListenAddress(probes.address),
  });

  function drain(): void {
    isDraining = true;
    serving.set(false);
    leases.book.drain();
    work?.pool.drain();
  }

  return {
    address: listener.address,
    opsAddress: probes?.address,
    async stop() {
      drain();
      leases.book.stop();
      work?.pool.stop();
      stopping.abort();
      const endMs = performance.now() + config.drainTimeoutMs;
      // In time for their answers.
      const cancelRelease = setTimer(() => {
        outbox.releaseWaiting();
        for (const stream of openStreams) {
          stream.fail(errorFromFailure(goingAway));
        }
      }, config.drainTimeoutMs * 0.8);
      await listener.close(config.drainTimeoutMs);
      cancelRelease();
      await outbox.stop(Math.max(0, endMs - performance.now()));
      stopBeats?.();
      stopMaintenance();
      await upstreams.close();
      await store.close();
      await probes?.close();
      log.info("stopped");
    },
  };
}

const goingAway = createFailure(ErrorReason.DRAINING, "the gateway stops", { retryAfterMs: 1000 });

function setTimer(run: () => void, delayMs: number): () => void {
  const timer = setTimeout(run, delayMs);
  return () => clearTimeout(timer);
}
