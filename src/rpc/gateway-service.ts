import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import { GatewayService, Role, type UpstreamInfoSchema } from "../../gen/taskgate/v1/gateway_pb.ts";
import type { Limits } from "../model/limits.ts";
import { createRoute, type Route } from "../model/route.ts";
import { callerKey } from "./caller.ts";
import { createDeliveryRpcs, type DeliveryRpcDeps } from "./delivery-rpcs.ts";
import { limitsMessage } from "./limits-message.ts";
import { createSessionRpcs, type SessionRpcDeps } from "./session-rpcs.ts";

export interface GatewayServiceDeps {
  version: string;
  /** The upstreams that the gateway has code for. */
  upstreams: readonly MessageInitShape<typeof UpstreamInfoSchema>[];
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
  deliveries: DeliveryRpcDeps;
  sessions: SessionRpcDeps;
}

/** Creates the service that is about the gateway itself. */
export function createGatewayRoute(deps: GatewayServiceDeps): Route {
  return createRoute(GatewayService, createGatewayService(deps), (method) =>
    method === "GetInfo" ? "known" : Role.OPERATOR,
  );
}

function createGatewayService(deps: GatewayServiceDeps): ServiceImpl<typeof GatewayService> {
  const unchanging = {
    version: deps.version,
    upstreams: [...deps.upstreams],
    limits: limitsMessage(deps.limits),
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
    ...createDeliveryRpcs(deps.deliveries),
    ...createSessionRpcs(deps.sessions),
  };
}
