import { randomBytes, randomUUID } from "node:crypto";
import { Health } from "../gen/grpc/health/v1/health_pb.ts";
import { ServerReflection } from "../gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as ServerReflectionV1Alpha } from "../gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { CallbackService } from "../gen/taskgate/v1/callback_pb.ts";
import { ExecutorService } from "../gen/taskgate/v1/executor_pb.ts";
import { GatewayService } from "../gen/taskgate/v1/gateway_pb.ts";
import { TaskStatusService } from "../gen/taskgate/v1/task_status_pb.ts";
import type { Config } from "./config/config.ts";
import { createDeliveryIds } from "./model/delivery-id.ts";
import { formatListenAddress, type ListenAddress } from "./model/listen-address.ts";
import type { Log } from "./model/log.ts";
import { serveProbes } from "./ops/probe-server.ts";
import { createDirectOutbox } from "./outbox/direct-outbox.ts";
import { createAdmission, type TokenEntry } from "./rpc/admission.ts";
import { createCallbackService } from "./rpc/callback.ts";
import { createExecutorService } from "./rpc/executor.ts";
import { createGatewayService } from "./rpc/gateway-service.ts";
import { createHealthService, createServingState, type ServingState } from "./rpc/health.ts";
import { listen } from "./rpc/listener.ts";
import { createReflectionServices } from "./rpc/reflection.ts";
import { roleOf } from "./rpc/roles.ts";
import { createRoute, type Route } from "./rpc/route.ts";
import { createRpcHandler } from "./rpc/rpc-handler.ts";
import { createTaskStatusService } from "./rpc/task-status.ts";
import { prepareTaskOutcome } from "./upstream/aidbox.ts";
import { prepareRunReport } from "./upstream/orchestra.ts";
import { prepareCallback } from "./upstream/orchestrator.ts";
import { createUpstreams } from "./upstreams.ts";

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
  opsAddress: ListenAddress | undefined;
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
    createRoute(
      TaskStatusService,
      createTaskStatusService({
        report:
          orchestra &&
          ((report, options) => outbox.submit(prepareRunReport(report, outbox.lastStatus), options)),
        defaultRun: config.orchestra?.defaultRun,
        limits,
      }),
    ),
    createRoute(
      CallbackService,
      createCallbackService({
        bases: upstreams.callbackBases,
        complete: (target, body, options) => outbox.submit(prepareCallback(target, body), options),
        progress: (target, body, signal) =>
          outbox.inOrder(prepareCallback(target, ""), () => orchestrator.progress(target, body, signal)),
        limits,
      }),
    ),
    createRoute(
      ExecutorService,
      createExecutorService({
        upstream: aidbox,
        report: (outcome, options) => outbox.submit(prepareTaskOutcome(outcome), options),
        limits,
        heartbeatIntervalMs,
        now,
        randomId: randomUUID,
      }),
    ),
    createRoute(
      GatewayService,
      createGatewayService({
        version: deps.version,
        configured: {
          orchestra: orchestra !== undefined,
          orchestrator: upstreams.callbackBases.length > 0,
          aidbox: aidbox !== undefined,
        },
        durable: false,
        requestIdRetentionMs: 0,
        limits,
        heartbeatIntervalMs,
        leaseDurationMs,
        now,
        isDraining: () => stopping.signal.aborted,
      }),
    ),
  ];
  const serving = createServingState(services.map(({ service }) => service.typeName));
  const tokens = tokensOf(config);
  const handler = createRpcHandler({
    routes: [...services, ...toolRoutes(services, serving, stopping.signal)],
    admit: createAdmission({
      tokens,
      allowedOrigins: config.allowedOrigins,
      loopbackHostOnly: config.listen.kind === "tcp" && tokens.length === 0,
      roleOf,
    }),
    allowedOrigins: config.allowedOrigins,
    deadlines: { defaultMs: config.limits.defaultWaitMs, maxMs: config.limits.maxWaitMs },
    maxMessageBytes: config.limits.maxMessageBytes,
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
    maxConnections: 10_000,
    maxStreams: 1000,
    firstByteTimeoutMs: 10_000,
  }).catch(async (error) => {
    await probes?.close();
    throw error;
  });
  serving.set(true);
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

// What tools ask for, besides the contract.
function toolRoutes(services: readonly Route[], serving: ServingState, stopping: AbortSignal): Route[] {
  const all = [...services.map(({ service }) => service), Health, ServerReflection, ServerReflectionV1Alpha];
  const reflection = createReflectionServices(all, stopping);
  return [
    createRoute(Health, createHealthService(serving, stopping)),
    createRoute(ServerReflection, reflection.v1),
    createRoute(ServerReflectionV1Alpha, reflection.v1alpha),
  ];
}

function tokensOf(config: Config): TokenEntry[] {
  const tokens: TokenEntry[] = [];
  if (config.authToken !== undefined) {
    tokens.push({ token: config.authToken, caller: { name: "default", roles: ["worker", "client"] } });
  }
  if (config.adminToken !== undefined) {
    tokens.push({
      token: config.adminToken,
      caller: { name: "admin", roles: ["worker", "client", "operator"] },
    });
  }
  return tokens;
}
