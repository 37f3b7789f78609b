import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import type { GatewayService } from "../../gen/taskgate/v1/gateway_pb.ts";
import type { Limits } from "../model/limits.ts";
import { callerKey } from "./caller.ts";
import { notImplemented } from "./errors.ts";

export interface GatewayServiceDeps {
  version: string;
  /** Which upstreams the gateway is configured with. */
  configured: { orchestra: boolean; orchestrator: boolean; aidbox: boolean };
  /** Reports are stored before they are acknowledged. */
  durable: boolean;
  /** How long a `request_id` is remembered; 0: not at all. */
  requestIdRetentionMs: number;
  limits: Limits;
  heartbeatIntervalMs: number;
  leaseDurationMs: number;
  /** The wall clock. */
  now: () => number;
  isDraining: () => boolean;
}

/** Creates the service that is about the gateway itself. */
export function createGatewayService(deps: GatewayServiceDeps): ServiceImpl<typeof GatewayService> {
  const { limits } = deps;
  const unchanging = {
    version: deps.version,
    upstreams: [
      {
        name: "orchestra",
        configured: deps.configured.orchestra,
        // FACT: nothing in Orchestra's SDK ever receives anything.
        capabilities: { pull: false, cancelDetection: false, handBack: false, progress: true },
      },
      {
        name: "orchestrator",
        configured: deps.configured.orchestrator,
        capabilities: { pull: false, cancelDetection: false, handBack: false, progress: true },
      },
      {
        name: "aidbox",
        configured: deps.configured.aidbox,
        // FACT: no call gives a task back; its timer does.
        capabilities: { pull: true, cancelDetection: true, handBack: false, progress: true },
      },
    ],
    limits: {
      maxMessageBytes: BigInt(limits.maxMessageBytes),
      maxPayloadBytes: BigInt(limits.maxPayloadBytes),
      maxLogBytes: BigInt(limits.maxLogBytes),
      maxPayloadDepth: limits.maxPayloadDepth,
      maxWait: durationFromMs(limits.maxWaitMs),
    },
    durable: deps.durable,
    requestIdRetention: durationFromMs(deps.requestIdRetentionMs),
    heartbeatInterval: durationFromMs(deps.heartbeatIntervalMs),
    leaseDuration: durationFromMs(deps.leaseDurationMs),
  };
  return {
    getInfo: (_, context) => ({
      ...unchanging,
      serverTime: timestampFromMs(deps.now()),
      draining: deps.isDraining(),
      roles: [...context.values.get(callerKey).roles],
    }),
    getDelivery() {
      throw notImplemented("GetDelivery");
    },
    listDeliveries() {
      throw notImplemented("ListDeliveries");
    },
    // biome-ignore lint/correctness/useYield: it ends before its first frame.
    async *watchDeliveries() {
      throw notImplemented("WatchDeliveries");
    },
    retryDelivery() {
      throw notImplemented("RetryDelivery");
    },
    discardDelivery() {
      throw notImplemented("DiscardDelivery");
    },
    listSessions() {
      throw notImplemented("ListSessions");
    },
    drain() {
      throw notImplemented("Drain");
    },
  };
}
