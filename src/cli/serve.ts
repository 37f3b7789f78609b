import { startGateway } from "../gateway.ts";
import { createPinoLog } from "../ops/pino-log.ts";
import { version } from "../version.ts";
import { type CliContext, exitCodes } from "./cli-context.ts";
import { readConfig } from "./read-config.ts";
import { untilSignal } from "./until-signal.ts";

/** `taskgate serve`: serves until it is asked to stop. */
export async function runServe(context: CliContext): Promise<number> {
  const config = readConfig(context);
  if (config === undefined) {
    return exitCodes.startFailed;
  }
  const log = createPinoLog(config.logLevel);
  try {
    const gateway = await startGateway({ config, version, log });
    await untilSignal(context);
    await gateway.stop();
    return exitCodes.ok;
  } catch (error) {
    log.error("the gateway could not start", error);
    return exitCodes.startFailed;
  }
}
