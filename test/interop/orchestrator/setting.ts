import type { JobService } from "../support/job-service.ts";
import { parseExactly } from "../support/json.ts";
import type { LossyProxy } from "../support/lossy-proxy.ts";
import { type Stage, until } from "../support/stage.ts";
import type { Answer, Message, Receipt, Taskgate } from "../support/taskgate.ts";
import type { Core } from "./core.ts";

/** All that stands: a workflow's process gets its callback from taskgate, through the proxy. */
export interface Setting {
  stage: Stage;
  core: Core;
  jobs: JobService;
  proxy: LossyProxy;
  taskgate: Taskgate;
}

/** A result that the workflows' validation takes. */
export const good =
  '{"return_code":0,"status":"successful","output":["Grüße 🎉"],"big":9007199254740993,"z":1,"a":null}';
export const goodValue = parseExactly(good);

/** Starts a workflow, and resolves when its process awaits the callback. */
export async function startAwaiting(
  { core, jobs }: Setting,
  workflow: string,
): Promise<{ processId: string; route: string }> {
  const processId = await core.start(workflow);
  const route = await jobs.routeOf(processId);
  await core.reach(processId, "awaiting_callback");
  return { processId, route };
}

/** The receipt of a result that must be accepted. */
export function complete({ taskgate }: { taskgate: Taskgate }, request: Message): Promise<Receipt> {
  return taskgate.accept("CallbackService", "CompleteCallback", request);
}

export function reportProgress(
  { taskgate }: { taskgate: Taskgate },
  route: string,
  progress: Message,
): Promise<Answer> {
  return taskgate.call("CallbackService", "ReportCallbackProgress", { callbackRoute: route, ...progress });
}

/** Resolves with the receipt of a delivery once it is what is asked for. */
export function untilReceipt(
  taskgate: Taskgate,
  deliveryId: string,
  isIt: (receipt: Receipt) => boolean,
  timeoutMs = 60_000,
): Promise<Receipt> {
  return until(
    `delivery ${deliveryId}`,
    async () => {
      const answer = await taskgate.call("GatewayService", "GetDelivery", { deliveryId });
      const delivery = answer.kind === "ok" ? (answer.response.delivery as { receipt?: Receipt }) : undefined;
      return delivery?.receipt !== undefined && isIt(delivery.receipt) ? delivery.receipt : undefined;
    },
    timeoutMs,
  );
}

export function isSettled({ state }: Receipt): boolean {
  return state !== "DELIVERY_STATE_STORED";
}

/** `DELIVERED after 1`. */
export function summary({ state, attempts }: Receipt): string {
  return `${state.replace("DELIVERY_STATE_", "")} after ${attempts}`;
}

/** What the Orchestrator got of a callback and answered, in this order: `/progress "half": 200`. */
export function requestsTo({ requests }: LossyProxy, route: string): string[] {
  return requests
    .filter(({ path }) => path.startsWith(route))
    .map(({ path, body, status, lost }) => {
      const suffix = path.slice(route.length);
      return `${suffix}${suffix && " "}${body}: ${status ?? "not asked"}${lost === undefined ? "" : `, ${lost} lost`}`;
    });
}
