import { expect, test } from "vitest";
import { type GatewayDeps, startGateway } from "../../src/gateway.ts";
import { openGatewayStore } from "../../src/gateway-store.ts";
import type { StoreOp } from "../../src/outbox/store.ts";
import type { WorkerStore } from "../../src/outbox/worker-store.ts";
import { findFreePort } from "../support/free-port.ts";
import { useDirectory } from "../support/use-directory.ts";
import { configOf, type LogLine, recordLog } from "../support/use-gateway.ts";

const words = "the disk has failed";

/** A store that is opened as it should be, and cannot answer one kind of question. */
async function failingStore(config: GatewayDeps["config"], type: StoreOp["type"]): Promise<WorkerStore> {
  const store = await openGatewayStore(config).store;
  return {
    ...store,
    run: (op) => (op.type === type ? Promise.reject(new Error(words)) : store.run(op)),
  };
}

// Leases are read before anything listens, what waits to be delivered after that.
test.each(["leases", "backlog"] as const)(
  "a start that fails as it reads the %s leaves nothing open",
  async (type) => {
    const [port, opsPort] = [await findFreePort(), await findFreePort()];
    const config = configOf({
      TASKGATE_LISTEN: `127.0.0.1:${port}`,
      TASKGATE_OPS_LISTEN: `127.0.0.1:${opsPort}`,
      TASKGATE_DATA_DIR: useDirectory(),
      ORCHESTRA_API_KEY: "key",
      ORCHESTRA_WEBHOOK_URL: "http://127.0.0.1:9",
    });
    const store = await failingStore(config, type);
    const lines: LogLine[] = [];
    const log = recordLog(lines);
    const gatewayStore = { store: Promise.resolve(store), failed: new Promise<Error>(() => undefined) };
    await expect(startGateway({ config, version: "0.0.0-test", log, gatewayStore })).rejects.toThrow(words);
    await expect(store.run({ type: "undelivered" })).rejects.toThrow("the store is closed");
    // Both ports and the directory are there for another one.
    const gateway = await startGateway({ config, version: "0.0.0-test", log });
    await gateway.stop();
    expect(lines.map(({ message }) => message)).toEqual(["listening", "stopped"]);
  },
);
