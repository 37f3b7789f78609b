import { randomBytes, randomUUID } from "node:crypto";
import { file_google_rpc_error_details } from "../gen/google/rpc/error_details_pb.ts";
import { Health } from "../gen/grpc/health/v1/health_pb.ts";
import type { Config } from "./config/config.ts";
import { listen } from "./listener/listener.ts";
import { createRpcHandler } from "./listener/rpc-handler.ts";
import { createDeliveryIds } from "./model/delivery-id.ts";
import { formatListenAddress, type ListenAddress, type TcpAddress } from "./model/listen-address.ts";
import type { Log } from "./model/log.ts";
import { serveProbes } from "./ops/probe-server.ts";
import { createDirectOutbox } from "./outbox/direct-outbox.ts";
import { createAdmission } from "./rpc/admission.ts";
import { createCallbackRoute } from "./rpc/callback.ts";
import { describeError } from "./rpc/errors.ts";
import { createExecutorRoute } from "./rpc/executor.ts";
import { createGatewayRoute } from "./rpc/gateway-service.ts";
import { createHealthRoute, createServingState } from "./rpc/health.ts";
import { createReflectionRoutes } from "./rpc/reflection.ts";
import { createTaskStatusRoute } from "./rpc/task-status.ts";
import { tokensOf } from "./tokens.ts";
import { prepareTaskOutcome } from "./upstream/aidbox.ts";
import { prepareRunReport } from "./upstream/orchestra.ts";
import { callbackTask, prepareCallback } from "./upstream/orchestrator.ts";
import { createUpstreams } from "./upstreams.ts";

// Beyond these a peer gets no connection, or waits with its next call.
const maxConnections = 10_000;
const maxStreamsPerConnection = 1000;
const firstByteTimeoutMs = 10_000;
const pingIntervalMs = 15_000;

export interface GatewayDeps {
  config: Config;
  version: string;
  log: Log;
  /** The wall clock. Default: the machine's. */
  now?: () => number;
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
  const upstreams = createUpstreams(config, now);
  const outbox = createDirectOutbox({
    upstreams: upstreams.byName,
    now,
    createDeliveryId: createDeliveryIds(now, randomBytes),
  });
  const { limits, heartbeatIntervalMs, leaseDurationMs } = config;
  const { orchestra, orchestrator, aidbox } = upstreams;

  const services = [
    createTaskStatusRoute({
      report: orchestra && ((report, options) => outbox.submit(prepareRunReport(report), options)),
      defaultRun: config.orchestra?.defaultRun,
      limits,
    }),
    createCallbackRoute({
      bases: upstreams.callbackBases,
      complete: (target, body, options) => outbox.submit(prepareCallback(target, body), options),
      progress: (target, body, signal) =>
        outbox.inOrder(callbackTask(target), signal, () => orchestrator.progress(target, body, signal)),
      limits,
    }),
    createExecutorRoute({
      upstream: aidbox,
      report: (outcome, options) => outbox.submit(prepareTaskOutcome(outcome), options),
      limits,
      heartbeatIntervalMs,
      now,
      randomId: randomUUID,
    }),
    createGatewayRoute({
      version: deps.version,
      upstreams: upstreams.infos,
      durable: false,
      requestIdRetentionMs: 0,
      limits,
      heartbeatIntervalMs,
      leaseDurationMs,
      now,
      isDraining: () => stopping.signal.aborted,
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

  const probes =
    config.opsListen === undefined
      ? undefined
      : await serveProbes({
          address: config.opsListen,
          isStarted: () => serving.isServing("") === true || stopping.signal.aborted,
          isReady: () => serving.isServing("") === true,
        });
  const listener = await listen({
    address: config.listen,
    tls: config.tls,
    handler,
    maxConnections,
    maxStreams: maxStreamsPerConnection,
    firstByteTimeoutMs,
    pingIntervalMs,
  }).catch(async (error) => {
    await probes?.close();
    throw error;
  });
  serving.set(true);
  if (upstreams.infos.every(({ configured }) => !configured)) {
    log.warn("no upstream is configured: every report will be refused");
  }
  log.info("listening", {
    address: formatListenAddress(listener.address),
    ops: probes && formatListenAddress(probes.address),
  });

  return {
    address: listener.address,
    opsAddress: probes?.address,
    async stop() {
      serving.set(false);
      stopping.abort();
      await listener.close(config.drainTimeoutMs);
      await upstreams.close();
      await probes?.close();
      log.info("stopped");
    },
  };
}
