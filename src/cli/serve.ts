import type { Config } from "../config/config.ts";
import type { Gateway } from "../gateway.ts";
import { openGatewayStore } from "../gateway-store.ts";
import { messageOf } from "../model/error-message.ts";
import { version } from "../version.ts";
import { type CliContext, exitCodes } from "./cli-context.ts";
import { createLog } from "./create-log.ts";
import { readConfig } from "./read-config.ts";
import { untilSignal } from "./until-signal.ts";
import { type Ending, untilStopped } from "./until-stopped.ts";

/** `taskgate serve`: serves until it is asked to stop, or its store fails. */
export async function runServe(context: CliContext): Promise<number> {
  const asked = untilSignal(context);
  const config = await readConfig(context);
  if (config === undefined) {
    return exitCodes.startFailed;
  }
  const { exitCode, words } = await serve(config, context, asked);
  if (config.terminationLog !== undefined) {
    try {
      context.writeFile(config.terminationLog, `taskgate ended with ${exitCode}: ${words}\n`);
    } catch (error) {
      context.printError(`taskgate: the termination log cannot be written: ${messageOf(error)}\n`);
    }
  }
  return exitCode;
}

async function serve(config: Config, context: CliContext, asked: Promise<void>): Promise<Ending> {
  const gatewayStore = openGatewayStore(config);
  const log = createLog(config, context);
  let gateway: Gateway;
  try {
    // Loaded while the store is opened.
    const { startGateway } = await import("../gateway.ts");
    gateway = await startGateway({ config, version, log, gatewayStore });
  } catch (error) {
    log.error("the gateway could not start", error);
    return { exitCode: exitCodes.startFailed, words: `it could not start: ${messageOf(error)}` };
  }
  return untilStopped(asked, gateway, gatewayStore);
}
