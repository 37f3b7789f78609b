import { type Gateway, startGateway } from "../gateway.ts";
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
  let gateway: Gateway;
  const fatal = Promise.withResolvers<number>();
  try {
    gateway = await startGateway({ config, version, log, onFatal: () => fatal.resolve(exitCodes.failed) });
  } catch (error) {
    log.error("the gateway could not start", error);
    return exitCodes.startFailed;
  }
  const code = await Promise.race([fatal.promise, untilSignal(context).then(() => exitCodes.ok)]);
  await gateway.stop();
  return code;
}
