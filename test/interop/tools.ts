import { runInterop, Skip, type Stage } from "./support/stage.ts";
import { useBufCurl } from "./tools/buf-curl.ts";
import { type Door, openDoors } from "./tools/door.ts";
import { useHealthProbe } from "./tools/grpc-health-probe.ts";
import { useGrpcurl } from "./tools/grpcurl.ts";

// The last one drains the gateways.
const tools: Record<string, (stage: Stage, doors: readonly Door[]) => Promise<void>> = {
  grpcurl: useGrpcurl,
  "buf curl": useBufCurl,
  grpc_health_probe: useHealthProbe,
};

/** The usual tools at taskgate: over TCP, over a Unix socket, and over TLS with client certificates and tokens. */
await runInterop("tools", async (stage) => {
  const doors = await openDoors(stage);
  for (const [name, use] of Object.entries(tools)) {
    try {
      await use(stage, doors);
    } catch (error) {
      if (!(error instanceof Skip)) {
        throw error;
      }
      stage.skip(name, error.message);
    }
  }
  for (const { name, taskgate } of doors) {
    stage.check(`${name}: taskgate stops`, await taskgate.stop(), 0);
    stage.check(`${name}: taskgate logs no error`, /"level":"error"/.test(taskgate.log()), false);
  }
});
