import { fromBinary } from "@bufbuild/protobuf";
import { DeliveryState, FailureSchema } from "../../gen/taskgate/v1/receipt_pb.ts";
import type { DeliveryObserver, ObservedDelivery } from "../model/delivery-observer.ts";
import type { LogFields } from "../model/log.ts";
import { traceIdOf } from "../model/trace-context.ts";
import type { DeliveryMetrics } from "./delivery-metrics.ts";
import type { ObserverDeps } from "./observe-calls.ts";

// What an operator should know of at once: somebody waits for it in vain.
const badEnds: ReadonlyMap<DeliveryState, string> = new Map([
  [DeliveryState.REJECTED, "the upstream refused a report for good"],
  [DeliveryState.UNCONFIRMED, "nobody knows whether the upstream took a report"],
]);

/** Creates the observer of deliveries. */
export function createDeliveryObserver(deps: ObserverDeps<DeliveryMetrics>): DeliveryObserver {
  const { metrics, tracer, log, isVerbose, now } = deps;
  return {
    stored(delivery) {
      metrics?.stored(delivery);
      if (isVerbose) {
        log.debug("a report was stored", fieldsOf(delivery));
      }
    },
    attempt(delivery) {
      const span = tracer?.attempt(delivery);
      const beganMs = now();
      return {
        run: (send) => (span === undefined ? send() : span.run(send)),
        end(result) {
          metrics?.attempted(delivery, result.kind);
          span?.end(result);
          if (isVerbose) {
            log.debug("an attempt has ended", {
              ...fieldsOf(delivery),
              result: result.kind,
              attempts: delivery.attempts,
              elapsedMs: Math.round(now() - beganMs),
              why: result.kind === "accepted" ? undefined : result.failure.message,
            });
          }
        },
      };
    },
    ended(delivery) {
      metrics?.ended(delivery);
      const badEnd = badEnds.get(delivery.state);
      if (badEnd !== undefined) {
        const why =
          delivery.failure === null ? undefined : fromBinary(FailureSchema, delivery.failure).message;
        log.warn(badEnd, { ...fieldsOf(delivery), attempts: delivery.attempts, why });
      } else if (isVerbose) {
        log.debug("a delivery has ended", { ...fieldsOf(delivery), attempts: delivery.attempts });
      }
    },
  };
}

/** What a line says of a delivery. */
export function fieldsOf({ id, upstream, taskId, kind, trace }: ObservedDelivery): LogFields {
  return {
    deliveryId: id,
    upstream,
    task: taskId,
    kind,
    traceId: trace === null ? undefined : traceIdOf(trace),
  };
}
