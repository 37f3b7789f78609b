import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { envOf, type SettingName } from "../../src/config/settings.ts";
import type { Sandbox } from "../../src/sandbox/sandbox.ts";
import { sandboxSettings } from "../../src/sandbox-settings.ts";

const bin = new URL("../../bin/taskgate.js", import.meta.url).pathname;

/** A gateway as its users run it. */
export interface GatewayProcess {
  readonly pid: number;
  /** When it was started, by `performance.now()`. */
  readonly startMs: number;
  /** All that it has logged. */
  log(): string;
  /** The exit code or the signal, once it has ended. */
  readonly ended: Promise<number | string>;
  isRunning(): boolean;
  /** As `kill -9`. Resolves when it is gone. */
  kill(): Promise<void>;
  /** As `kill`. Resolves with the exit code. */
  stop(): Promise<number | string>;
  rssMiB(): number;
  cpuMs(): number;
}

const running = new Set<ChildProcess>();

/** Kills all that still run, at once. */
export function killAll(): void {
  for (const child of running) {
    child.kill("SIGKILL");
  }
}

/** The variables that make a gateway talk to a sandbox. */
export function sandboxEnv(sandbox: Sandbox): Record<string, string> {
  const entries = Object.entries(sandboxSettings(sandbox));
  return Object.fromEntries(entries.map(([name, value]) => [envOf(name as SettingName), value]));
}

/** Starts `taskgate serve` with nothing but these variables. */
export function startGatewayProcess(port: number, env: Record<string, string>): GatewayProcess {
  const child = spawn(process.execPath, [bin, "serve"], {
    env: {
      TASKGATE_LISTEN: `127.0.0.1:${port}`,
      TASKGATE_OPS_LISTEN: "off",
      TASKGATE_LOG_LEVEL: "warn",
      ...env,
    },
    stdio: ["ignore", "ignore", "pipe"],
  });
  const startMs = performance.now();
  running.add(child);
  let log = "";
  child.stderr?.on("data", (chunk) => {
    log = (log + chunk).slice(-64 * 1024);
  });
  const ended = once(child, "exit").then(([code, signal]): number | string => {
    running.delete(child);
    return code ?? signal;
  });
  const { pid = 0 } = child;
  return {
    pid,
    startMs,
    log: () => log,
    ended,
    isRunning: () => child.exitCode === null && child.signalCode === null,
    async kill() {
      child.kill("SIGKILL");
      await ended;
    },
    async stop() {
      child.kill("SIGTERM");
      return ended;
    },
    rssMiB() {
      const [, kiB] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
      return Number(kiB) / 1024;
    },
    cpuMs() {
      const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
      // The name before may hold anything; Linux counts in hundredths of a second.
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      return (Number(fields[11]) + Number(fields[12])) * 10;
    },
  };
}
