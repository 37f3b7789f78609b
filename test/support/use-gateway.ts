import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import type { Config } from "../../src/config/config.ts";
import { type ConfigSources, parseConfig } from "../../src/config/parse-config.ts";
import { type Gateway, startGateway } from "../../src/gateway.ts";
import { formatListenAddress } from "../../src/model/listen-address.ts";
import type { Log } from "../../src/model/log.ts";
import { useDirectory } from "./use-directory.ts";

export interface LogLine {
  level: "info" | "warn" | "error";
  message: string;
  error?: unknown;
}

export interface UsedGateway {
  gateway: Gateway;
  /** `http://host:port` of the RPCs. */
  url: string;
  /** `http://host:port` of the probes. */
  opsUrl: string;
  config: Config;
  log: LogLine[];
}

/**
 * Starts a gateway on free ports for the running test, configured as by
 * environment variables. The test fails if the gateway logs an error, or does not
 * stop by itself. A test may stop it before its end.
 */
export async function useGateway(
  env: Record<string, string> = {},
  fixed: ConfigSources["fixed"] = {},
): Promise<UsedGateway> {
  const log: LogLine[] = [];
  const config = configOf(
    {
      TASKGATE_LISTEN: "127.0.0.1:0",
      TASKGATE_OPS_LISTEN: "127.0.0.1:0",
      TASKGATE_DRAIN_TIMEOUT: "2s",
      TASKGATE_DATA_DIR: useDirectory(),
      ...env,
    },
    fixed,
  );
  const started = await startGateway({ config, version: "0.0.0-test", log: recordLog(log) });
  let stopped: Promise<void> | undefined;
  const gateway: Gateway = {
    ...started,
    stop() {
      stopped ??= started.stop();
      return stopped;
    },
  };
  onTestFinished(async () => {
    await gateway.stop();
    const errors = log.filter(({ level }) => level === "error");
    if (errors.length > 0) {
      throw new Error(`the gateway logged ${JSON.stringify(errors.map(({ message }) => message))}`, {
        cause: errors[0]?.error,
      });
    }
  });
  const scheme = config.tls === undefined ? "http" : "https";
  return {
    gateway,
    url: `${scheme}://${formatListenAddress(gateway.address)}`,
    opsUrl: gateway.opsAddress === undefined ? "" : `http://${formatListenAddress(gateway.opsAddress)}`,
    config,
    log,
  };
}

/** The path of a certificate or key for tests. */
export function tlsPath(name: string): string {
  return fileURLToPath(new URL(`./tls/${name}`, import.meta.url));
}

/** Parses a configuration that must be right. It reads no files but those. */
export function configOf(env: Record<string, string>, fixed: ConfigSources["fixed"] = {}): Config {
  const result = parseConfig({
    fixed,
    env,
    flags: {},
    readFile(path) {
      if (!path.startsWith(tlsPath(""))) {
        throw new Error(`the test reads ${path}`);
      }
      return readFileSync(path, "utf8");
    },
  });
  if ("problems" in result) {
    throw new Error(result.problems.join("\n"));
  }
  return result.config;
}

/** A log that keeps its lines. */
export function recordLog(lines: LogLine[]): Log {
  return {
    info: (message) => lines.push({ level: "info", message }),
    warn: (message) => lines.push({ level: "warn", message }),
    error: (message, error) => lines.push({ level: "error", message, error }),
  };
}
