import type { CallObserver } from "../model/call-observer.ts";
import type { Log } from "../model/log.ts";
import { traceIdOf } from "../model/trace-context.ts";
import type { CallMetrics } from "./call-metrics.ts";
import { codeName } from "./code-name.ts";
import type { Tracer } from "./tracer.ts";

/** Who wants to know of calls, and of deliveries. */
export interface ObserverDeps<Metrics> {
  metrics: Metrics | undefined;
  tracer: Tracer | undefined;
  log: Log;
  /** Each of them is a line of the log. */
  isVerbose: boolean;
  /** A clock that nobody sets. */
  now: () => number;
}

/** Creates the observer of calls. Undefined: nobody wants to know. */
export function createCallObserver(deps: ObserverDeps<CallMetrics>): CallObserver | undefined {
  const { metrics, tracer, log, isVerbose, now } = deps;
  if (metrics === undefined && tracer === undefined && !isVerbose) {
    return undefined;
  }
  return {
    begin(path, headers) {
      const method = metrics?.begin(path);
      const span = tracer?.call(path, headers);
      const beganMs = now();
      let isOver = false;
      method?.began();
      return {
        run: (handler) => (span === undefined ? handler() : span.run(handler)),
        end(code) {
          if (isOver) {
            return;
          }
          isOver = true;
          const elapsedMs = now() - beganMs;
          method?.ended(code, elapsedMs);
          span?.end(code);
          if (isVerbose) {
            log.debug("a call has ended", {
              rpc: path,
              code: codeName(code),
              elapsedMs: Math.round(elapsedMs),
              traceId: span && traceIdOf(span.trace),
            });
          }
        },
      };
    },
    unknown() {
      metrics?.unknown();
      if (isVerbose) {
        log.debug("something was called that is not served");
      }
    },
  };
}
