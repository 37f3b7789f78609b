import type { Gateway } from "../gateway.ts";
import { openGatewayStore } from "../gateway-store.ts";
import { createPinoLog } from "../ops/pino-log.ts";
import { version } from "../version.ts";
import { type CliContext, exitCodes } from "./cli-context.ts";
import { readConfig } from "./read-config.ts";
import { untilStopped } from "./until-stopped.ts";

/** `taskgate serve`: serves until it is asked to stop, or its store fails. */
export async function runServe(context: CliContext): Promise<number> {
  const config = readConfig(context);
  if (config === undefined) {
    return exitCodes.startFailed;
  }
  const gatewayStore = openGatewayStore(config);
  const log = createPinoLog(config.logLevel);
  let gateway: Gateway;
  try {
    // Loaded while the store is opened.
    const { startGateway } = await import("../gateway.ts");
    gateway = await startGateway({ config, version, log, gatewayStore });
  } catch (error) {
    log.error("the gateway could not start", error);
    return exitCodes.startFailed;
  }
  return untilStopped(context, gateway, gatewayStore);
}
