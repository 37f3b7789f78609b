import type { Log, LogFields } from "../model/log.ts";
import { traceIdOf } from "../model/trace-context.ts";
import type { Tracer } from "./tracer.ts";

/** Returns a log that counts its lines, and says to which trace a line belongs. */
export function observeLog(
  log: Log,
  count: ((level: string) => void) | undefined,
  tracer: Pick<Tracer, "current"> | undefined,
): Log {
  function traced(fields: LogFields | undefined): LogFields | undefined {
    const trace = tracer?.current();
    return trace === undefined ? fields : { traceId: traceIdOf(trace), ...fields };
  }
  return {
    debug: (message, fields) => log.debug(message, traced(fields)),
    info(message, fields) {
      count?.("info");
      log.info(message, traced(fields));
    },
    warn(message, fields) {
      count?.("warn");
      log.warn(message, traced(fields));
    },
    error(message, error, fields) {
      count?.("error");
      log.error(message, error, traced(fields));
    },
  };
}
