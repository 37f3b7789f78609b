import { pino, stdTimeFunctions } from "pino";
import type { Log } from "../model/log.ts";

/** Creates a log of JSON lines on standard error: standard output is for the user. */
export function createPinoLog(level: string): Log {
  const logger = pino(
    {
      level,
      base: null,
      messageKey: "message",
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    // Synchronous, so that nothing is missing after a crash.
    pino.destination({ fd: 2, sync: true }),
  );
  return {
    info: (message, fields) => logger.info(fields ?? {}, message),
    warn: (message, fields) => logger.warn(fields ?? {}, message),
    error: (message, error, fields) => logger.error({ ...fields, err: error }, message),
  };
}
