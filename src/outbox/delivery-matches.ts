import type { DeliveryFilter } from "../model/delivery-desk.ts";
import type { DeliveryRow } from "./store.ts";

/** Says whether a delivery is one of those that are meant. */
export function deliveryMatches(row: DeliveryRow, { upstream, states, taskId }: DeliveryFilter): boolean {
  return (
    (upstream === undefined || row.upstream === upstream) &&
    (states === undefined || states.includes(row.state)) &&
    (taskId === undefined || row.taskId === taskId)
  );
}
