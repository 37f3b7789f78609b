import { type Duration, durationMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import { ErrorReason } from "../../gen/taskgate/v1/error_reason_pb.ts";
import type { GatewayService } from "../../gen/taskgate/v1/gateway_pb.ts";
import { DeliveryState } from "../../gen/taskgate/v1/receipt_pb.ts";
import { answerMarginMs } from "../model/answer-margin.ts";
import type { DeliveryDesk, DeliveryFilter, DeliveryMove } from "../model/delivery-desk.ts";
import { createFailure } from "../model/failure.ts";
import { errorFromFailure } from "./errors.ts";
import { createRequestChecker, type RequestChecker } from "./request-checker.ts";

type DeliveryRpcs = Pick<
  ServiceImpl<typeof GatewayService>,
  "getDelivery" | "listDeliveries" | "watchDeliveries" | "retryDelivery" | "discardDelivery"
>;

export interface DeliveryRpcDeps {
  desk: DeliveryDesk;
  /** The names of the upstreams that there are. */
  upstreams: readonly string[];
  /** Aborts when the gateway stops. */
  stopping: AbortSignal;
}

const defaultPageSize = 100;
const maxPageSize = 1000;

/** The RPCs about what is stored. */
export function createDeliveryRpcs({ desk, upstreams, stopping }: DeliveryRpcDeps): DeliveryRpcs {
  function checkFilter(
    request: { upstream: string; states: DeliveryState[]; taskId: string },
    checker: RequestChecker,
  ): DeliveryFilter {
    if (request.upstream !== "" && !upstreams.includes(request.upstream)) {
      checker.add("upstream", `is none of ${upstreams.join(", ")}`);
    }
    request.states.forEach((state, index) => {
      checker.member(`states[${index}]`, state, DeliveryState);
      checker.add(`states[${index}]`, state === DeliveryState.UNSPECIFIED ? "is unspecified" : undefined);
    });
    return {
      upstream: request.upstream || undefined,
      states: request.states.length === 0 ? undefined : request.states,
      taskId: request.taskId || undefined,
    };
  }

  return {
    async getDelivery({ deliveryId, wait }, context) {
      const checker = createRequestChecker();
      checker.requireText("delivery_id", deliveryId);
      checker.add("wait", isNegative(wait) ? "must not be negative" : undefined);
      checker.throwIfInvalid();
      const waitMs = wait === undefined ? 0 : durationMs(wait);
      const leftMs = context.timeoutMs() ?? Number.POSITIVE_INFINITY;
      const delivery = await desk.get(
        deliveryId,
        Math.min(waitMs, leftMs - answerMarginMs(leftMs)),
        context.signal,
      );
      if (delivery === undefined) {
        throw unknownDelivery(deliveryId);
      }
      return { delivery };
    },

    async listDeliveries(request) {
      const checker = createRequestChecker();
      const filter = checkFilter(request, checker);
      const { pageSize, pageToken } = request;
      checker.add("page_size", pageSize < 0 ? "must not be negative" : undefined);
      checker.throwIfInvalid();
      const limit = Math.min(pageSize || defaultPageSize, maxPageSize);
      const page = await desk.list(filter, pageToken, limit);
      if (page === undefined) {
        checker.add("page_token", "is not one that this gateway gave");
        checker.throwIfInvalid();
      }
      return { deliveries: page?.deliveries ?? [], nextPageToken: page?.nextToken ?? "" };
    },

    async *watchDeliveries(request, context) {
      const checker = createRequestChecker();
      const filter = checkFilter(request, checker);
      checker.throwIfInvalid();
      for await (const change of desk.watch(filter, [context.signal, stopping])) {
        switch (change.kind) {
          case "changed":
            yield { delivery: change.delivery };
            break;
          case "gap":
            yield { gap: true };
            break;
          case "idle":
            yield {};
            break;
          default:
            change satisfies never;
        }
      }
      if (stopping.aborted) {
        throw errorFromFailure(createFailure(ErrorReason.DRAINING, "the gateway stops"));
      }
    },

    async retryDelivery({ deliveryId }) {
      return { delivery: assertMoved(await desk.retry(checkId(deliveryId)), deliveryId) };
    },

    async discardDelivery({ deliveryId }) {
      return { delivery: assertMoved(await desk.discard(checkId(deliveryId)), deliveryId) };
    },
  };
}

function checkId(deliveryId: string): string {
  const checker = createRequestChecker();
  checker.requireText("delivery_id", deliveryId);
  checker.throwIfInvalid();
  return deliveryId;
}

function isNegative(duration: Duration | undefined): boolean {
  return duration !== undefined && (duration.seconds < 0n || duration.nanos < 0);
}

function assertMoved(move: DeliveryMove, deliveryId: string) {
  switch (move.kind) {
    case "moved":
      return move.delivery;
    case "unknown":
      throw unknownDelivery(deliveryId);
    case "refused":
      throw errorFromFailure(
        createFailure(ErrorReason.TASK_FINISHED, `the delivery ${deliveryId} cannot be moved: ${move.why}`),
      );
    default:
      return move satisfies never;
  }
}

function unknownDelivery(deliveryId: string) {
  return errorFromFailure(createFailure(ErrorReason.DELIVERY_UNKNOWN, `there is no delivery ${deliveryId}`));
}
