import type { Config } from "../config/config.ts";
import type { Log } from "../model/log.ts";
import { createPinoLog } from "../ops/pino-log.ts";
import type { CliContext } from "./cli-context.ts";

/** Creates the log of a configuration: for people where one is watching. */
export function createLog(
  { logLevel, logFormat }: Pick<Config, "logLevel" | "logFormat">,
  { isTerminal }: Pick<CliContext, "isTerminal">,
): Log {
  const usual = isTerminal ? "text" : "json";
  const format = logFormat === "auto" ? usual : logFormat;
  return createPinoLog({ level: logLevel, format, hasColours: isTerminal });
}
