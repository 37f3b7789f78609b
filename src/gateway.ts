import type { LookupFunction } from "node:net";
import type { Config } from "./config/config.ts";
import { joinCallers } from "./gateway-callers.ts";
import { logCutOff } from "./gateway-cut-off.ts";
import { joinLeases } from "./gateway-leases.ts";
import { observeGateway } from "./gateway-observation.ts";
import { joinRoutes } from "./gateway-routes.ts";
import { joinSecrets } from "./gateway-secrets.ts";
import { type StopResult, stopServing, undeliveredWords } from "./gateway-stop.ts";
import { type GatewayStore, openGatewayStore } from "./gateway-store.ts";
import { followTls, tlsTexts } from "./gateway-tls.ts";
import { joinWork } from "./gateway-work.ts";
import { createBodyBudget } from "./listener/body-budget.ts";
import { createCallPlaces } from "./listener/call-places.ts";
import { createConnectionPlaces } from "./listener/connection-places.ts";
import { listen } from "./listener/listener.ts";
import { createRpcHandler } from "./listener/rpc-handler.ts";
import { formatListenAddress, type ListenAddress, type TcpAddress } from "./model/listen-address.ts";
import type { Log, LogFields } from "./model/log.ts";
import { serveProbes } from "./ops/probe-server.ts";
import type { Clock } from "./outbox/clock.ts";
import { createDeliveryDesk } from "./outbox/delivery-desk.ts";
import { startMaintenance } from "./outbox/maintenance.ts";
import { createOutbox } from "./outbox/outbox.ts";
import { startWaitingBeats } from "./outbox/waiting-beats.ts";
import { createAdmission } from "./rpc/admission.ts";
import { describeError, tooManyCalls, tooManyUnfinishedBytes } from "./rpc/errors.ts";
import { createFindCaller } from "./rpc/find-caller.ts";
import type { StreamDeps } from "./rpc/stream-deps.ts";
import { prepareLostTask } from "./upstream/aidbox.ts";
import { prepareLostRun } from "./upstream/orchestra.ts";
import { prepareLostCallback } from "./upstream/orchestrator.ts";
import { createUpstreams } from "./upstreams.ts";

// A peer that vanished is noticed within two of them, and within its lease.
const maxPingIntervalMs = 15_000;
// Probes and whoever collects metrics: a few connections.
const opsPlaces = { maxConnections: 256, maxConnectionsPerPeer: 64 };
// How many attempts may be under way per origin: as many as there are connections.
const concurrencyPerOrigin = 64;
// How long a call may wait for a delivery before it is told that it is stored.
const maxDeliveryWaitMs = 30_000;
// How long a stop waits for the collector of traces.
const closeTraceMs = 500;

export interface GatewayDeps {
  config: Config;
  version: string;
  log: Log;
  /** The wall clock. Default: the machine's. */
  now?: () => number;
  /** Finds the addresses of upstreams' names. Default: the system's resolver. */
  lookup?: LookupFunction;
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
   * Stops: is not ready any more, takes no new calls once the minimum accept time is
   * over, answers what is under way and sends what is stored within the drain timeout,
   * then ends what is left.
   */
  stop(): Promise<StopResult>;
}

/** Starts a gateway. Rejects when it cannot start, for whatever reason; then nothing is left open. */
export async function startGateway(deps: GatewayDeps): Promise<Gateway> {
  const { config, now = Date.now } = deps;
  const stopping = new AbortController();
  const { limits, peerLimits, heartbeatIntervalMs, leaseDurationMs } = config;
  const clock: Clock = { now, setTimer };
  const observing = observeGateway({ config, version: deps.version, log: deps.log, clock });
  const onUnexpectedError = (error: unknown) => log.error("the outbox failed unexpectedly", error);
  const onAlarm = (message: string, fields: LogFields) => log.error(message, undefined, fields);

  const { directory, retentionMs } = config.outbox;
  const { store: opening, failed } = deps.gatewayStore ?? openGatewayStore(config);
  // What a start that fails has opened is closed, the last first.
  await using opened = new AsyncDisposableStack();
  opened.defer(() => observing.then((observation) => observation.close(closeTraceMs), nothing));
  opened.defer(() => opening.then((store) => store.close(), nothing));
  const [store, observation] = await Promise.all([opening, observing]);
  const { log } = observation;
  void failed.then((error) => log.error("the store has failed", error));
  if (store.damage !== undefined) {
    onAlarm(store.damage, { directory });
  }
  const secrets = joinSecrets({ setTimer, log });
  opened.defer(() => secrets.close());
  observation.follow(secrets);
  const { requests } = observation;
  const upstreams = createUpstreams(config, secrets, deps.version, now, requests, deps.lookup);
  opened.defer(() => upstreams.close());
  const { aidbox } = upstreams;
  const startMs = now() - performance.now();
  const steadyNow = () => startMs + performance.now();
  const leases = joinLeases({
    store,
    outbox: () => outbox,
    clock,
    steadyNow,
    leaseDurationMs,
    maxLeases: peerLimits.maxSessions,
    prepareLost: {
      orchestra: prepareLostRun,
      orchestrator: prepareLostCallback,
      aidbox: prepareLostTask,
    },
    onExpired: observation.onLeaseExpired,
    log,
  });
  opened.defer(() => leases.book.stop());
  const work =
    aidbox && joinWork({ aidbox, leases, clock, steadyNow, heartbeatIntervalMs, random: Math.random, log });
  opened.defer(() => work?.pool.stop());
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
    observer: observation.deliveries,
    currentTrace: observation.currentTrace,
    onAlarm,
    onWarning: log.warn,
    onNotice: log.info,
    onUnexpectedError,
  });
  opened.defer(() => outbox.stop(0));

  let isDraining = false;
  const openStreams: StreamDeps["openStreams"] = new Set();
  const { routes, serving } = joinRoutes({
    config,
    version: deps.version,
    upstreams,
    leases,
    work,
    outbox,
    desk,
    store,
    openStreams,
    now,
    setTimer,
    isDraining: () => isDraining,
    drain,
    stopping: stopping.signal,
    log,
  });
  const callers = joinCallers(config.callers, secrets);
  const cutOff = logCutOff(log, setTimer);
  opened.defer(() => cutOff.stop());
  const handler = createRpcHandler({
    routes,
    admit: createAdmission({
      routes,
      findCaller: callers.length === 0 ? undefined : createFindCaller(callers),
      allowedOrigins: config.allowedOrigins,
      loopbackHostOnly: config.listen.kind === "tcp" && callers.length === 0,
    }),
    calls: createCallPlaces(peerLimits.maxCalls, tooManyCalls(peerLimits.maxCalls)),
    describe: describeError,
    allowedOrigins: config.allowedOrigins,
    deadlines: { defaultMs: limits.defaultWaitMs, maxMs: limits.maxWaitMs },
    maxMessageBytes: limits.maxMessageBytes,
    bodyBudget: createBodyBudget(
      peerLimits.maxUnfinishedBytes,
      tooManyUnfinishedBytes(peerLimits.maxUnfinishedBytes),
    ),
    maxMessageMs: peerLimits.bodyTimeoutMs,
    maxExpansion: peerLimits.maxExpansion,
    fastLane: config.fastLane,
    observer: observation.calls(routes),
    onUnexpectedError: (error, path) => log.error("the call failed unexpectedly", error, { rpc: path }),
  });

  // Before anybody can speak: whose session is whose is in the store.
  await leases.book.start();
  const probes =
    config.opsListen === undefined
      ? undefined
      : await serveProbes({
          address: config.opsListen,
          timeoutMs: peerLimits.firstByteTimeoutMs,
          maxHeaderBytes: peerLimits.maxHeaderBytes,
          places: createConnectionPlaces(opsPlaces),
          isStarted: () => serving.isServing("") === true || stopping.signal.aborted,
          isReady: () => serving.isServing("") === true,
          metrics: observation.metricsOf({
            waiting: () => store.run({ type: "backlog", withAge: true }),
            lanes: outbox.lanes,
            leases: leases.book.counts,
            workers: () => work?.pool.size ?? 0,
            isReady: () => serving.isServing("") === true,
            isDraining: () => isDraining,
            maxWaiting: { rows: config.outbox.maxRows, bytes: config.outbox.maxBytes },
          }),
          onUnexpectedError: (error) => log.error("the metrics could not be collected", error),
        });
  opened.defer(() => probes?.close());
  const listener = await listen({
    address: config.listen,
    socketAccess: config.socketAccess,
    tls: tlsTexts(config.tls),
    handler,
    limits: peerLimits,
    onCutOff: cutOff.tell,
    pingIntervalMs: Math.min(maxPingIntervalMs, leaseDurationMs / 2),
  });
  opened.defer(() => listener.close(0));
  opened.defer(() => stopping.abort());
  followTls(config.tls, secrets, listener);
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
  opened.defer(stopMaintenance);
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
  opened.defer(() => stopBeats?.());
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

  // From now on `stop` closes it all.
  opened.move();
  return {
    address: listener.address,
    opsAddress: probes?.address,
    async stop() {
      drain();
      leases.book.stop();
      work?.pool.stop();
      stopping.abort();
      const { drainTimeoutMs, minAcceptMs } = config;
      const result = await stopServing({
        outbox,
        listener,
        openStreams,
        undelivered: () => store.run({ type: "undelivered" }),
        drainTimeoutMs,
        minAcceptMs,
        setTimer,
        steadyNow,
        log,
      });
      stopBeats?.();
      stopMaintenance();
      secrets.close();
      cutOff.stop();
      await upstreams.close();
      await store.close();
      await observation.close(closeTraceMs);
      await probes?.close();
      tellEnd(log, result);
      return result;
    },
  };
}

function tellEnd(log: Log, result: StopResult): void {
  const reports = result.undelivered?.reduce((sum, each) => sum + each.reports, 0);
  const outcomes = result.undelivered?.reduce((sum, each) => sum + each.outcomes, 0);
  if (reports === 0) {
    log.info("stopped");
  } else {
    log.warn(`stopped; ${undeliveredWords(result)}`, { undelivered: reports, outcomes });
  }
}

function nothing(): void {}

function setTimer(run: () => void, delayMs: number): () => void {
  const timer = setTimeout(run, delayMs);
  return () => clearTimeout(timer);
}
