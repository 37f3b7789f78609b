import { describe, expect, test } from "vitest";
import { logCutOff } from "../../src/gateway-cut-off.ts";
import type { Log, LogFields } from "../../src/model/log.ts";

function useLog() {
  const lines: [message: string, fields: LogFields | undefined][] = [];
  const timers: (() => void)[] = [];
  const log: Log = {
    debug: () => undefined,
    info: () => undefined,
    warn: (message, fields) => void lines.push([message, fields]),
    error: () => undefined,
  };
  const cutOff = logCutOff(log, (run) => {
    timers.push(run);
    return () => undefined;
  });
  return {
    lines,
    tell: cutOff.tell,
    pass() {
      for (const run of timers.splice(0)) {
        run();
      }
    },
  };
}

describe("connections that limits have closed", () => {
  test("are told of at once, each reason, and then in sums", () => {
    const { lines, tell, pass } = useLog();
    tell("a");
    tell("b");
    expect(lines.splice(0)).toEqual([
      ["connections were closed: a", { connections: 1 }],
      ["connections were closed: b", { connections: 1 }],
    ]);
    for (let count = 0; count < 1000; count += 1) {
      tell("a");
    }
    expect(lines).toEqual([]);
    pass();
    expect(lines.splice(0)).toEqual([["connections were closed: a", { connections: 1000 }]]);
    pass();
    pass();
    expect(lines).toEqual([]);
    tell("a");
    expect(lines).toEqual([["connections were closed: a", { connections: 1 }]]);
  });
});
