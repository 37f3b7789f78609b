import { pino, stdTimeFunctions } from "pino";
import type { Log } from "../model/log.ts";
import { terminalLine } from "./terminal-line.ts";

export interface PinoLogOptions {
  /** `debug`, `info`, `warn`, `error` or `silent`. */
  level: string;
  /** `json`: a line of JSON per event; `text`: the same for people. */
  format: "json" | "text";
  /** Of text, for a terminal. */
  hasColours: boolean;
}

/** Creates a log of lines on standard error: standard output is for the user. */
export function createPinoLog({ level, format, hasColours }: PinoLogOptions): Log {
  // Synchronous, so that nothing is missing after a crash.
  const destination = pino.destination({ fd: 2, sync: true });
  const logger = pino(
    {
      level,
      base: null,
      messageKey: "message",
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    format === "json" ? destination : { write: (line) => destination.write(terminalLine(line, hasColours)) },
  );
  return {
    debug: (message, fields) => logger.debug(fields ?? {}, message),
    info: (message, fields) => logger.info(fields ?? {}, message),
    warn: (message, fields) => logger.warn(fields ?? {}, message),
    error: (message, error, fields) => logger.error({ ...fields, err: error }, message),
  };
}
