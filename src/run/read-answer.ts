import { type Duration, durationMs } from "@bufbuild/protobuf/wkt";
import type { Client } from "@connectrpc/connect";
import type { GatewayService } from "../../gen/taskgate/v1/gateway_pb.ts";
import { DeliveryState, type Receipt, WaitFor } from "../../gen/taskgate/v1/receipt_pb.ts";
import { defaultLimits, type Limits } from "../model/limits.ts";
import { readCallFailure } from "./call-errors.ts";
import type { Beat, Order, ReportAnswer, TargetCall } from "./report-target.ts";

/** What a receipt says to who waits for something. */
export function answerOf(receipt: Receipt | undefined, waitFor: WaitFor): ReportAnswer {
  return { isPending: waitFor === WaitFor.DELIVERED && receipt?.state === DeliveryState.STORED };
}

/** Reads the answer to a heartbeat of any kind. */
export function readBeat({
  directive,
  cause,
  sessionId,
  leaseDuration,
  nextHeartbeat,
}: Order & {
  sessionId: string;
  leaseDuration?: Duration | undefined;
  nextHeartbeat?: Duration | undefined;
}): Beat {
  return {
    directive,
    cause,
    sessionId,
    leaseDurationMs: leaseDuration === undefined ? 0 : durationMs(leaseDuration),
    nextHeartbeatMs: nextHeartbeat === undefined ? 0 : durationMs(nextHeartbeat),
  };
}

/** The sizes that the gateway takes. */
export type GatewayLimits = Pick<Limits, "maxLogBytes" | "maxPayloadBytes">;

/** Asks a gateway for its limits, once. One that does not tell has the usual ones. */
export function createLimitsReader(
  client: Pick<Client<typeof GatewayService>, "getInfo">,
  headers: Record<string, string>,
): (call: TargetCall) => Promise<GatewayLimits> {
  let known: GatewayLimits | undefined;
  return async ({ timeoutMs, signal }) => {
    known ??= await client.getInfo({}, { headers, timeoutMs, signal }).then(
      ({ limits }) => ({
        maxLogBytes: Number(limits?.maxLogBytes ?? 0) || defaultLimits.maxLogBytes,
        maxPayloadBytes: Number(limits?.maxPayloadBytes ?? 0) || defaultLimits.maxPayloadBytes,
      }),
      (error) => {
        if (readCallFailure(error).canRetry) {
          throw error;
        }
        return defaultLimits;
      },
    );
    return known;
  };
}
