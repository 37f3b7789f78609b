import { DeliveryState } from "../../gen/taskgate/v1/receipt_pb.ts";
import { openStore } from "../../src/outbox/open-store.ts";
import type { AcceptOp } from "../../src/outbox/store.ts";
import { prepareRunReport } from "../../src/upstream/orchestra.ts";
import { type Random, uuidOf } from "./random.ts";

/**
 * Fills a new store with reports that wait for Orchestra, ten for each task, as a gateway
 * would have stored them.
 */
export function fillStore(directory: string, rows: number, random: Random): void {
  const store = openStore({
    directory,
    synchronous: "OFF",
    quota: { maxRows: rows * 2, maxBytes: 2 ** 40, outcomeReserve: 0 },
    nowMs: Date.now(),
  });
  const tasks = Array.from({ length: rows / 10 }, () => uuidOf(random));
  for (let first = 0; first < rows; first += 2000) {
    const ops = Array.from({ length: 2000 }, (_, index): AcceptOp => {
      const taskRunId = tasks[(first + index) % tasks.length] ?? "";
      return {
        type: "accept",
        delivery: prepareRunReport({
          kind: "status",
          run: { taskRunId, attempt: 0 },
          status: "RUNNING",
          message: `row ${first + index} ${"x".repeat(100)}`,
        }),
        operation: "UpdateTask",
        caller: "everyone",
        isByGateway: false,
        requestId: `bulk-${first + index}`,
        contentHash: `bulk-${first + index}`,
        trace: null,
        nowMs: Date.now(),
        mayLeave: false,
      };
    });
    const [result] = store.runAll(ops);
    if (result === undefined || !("row" in result) || result.row?.state !== DeliveryState.STORED) {
      throw new Error(`the store refused: ${JSON.stringify(result)}`);
    }
  }
  store.close();
}
