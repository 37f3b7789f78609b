import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import type { Config } from "../../src/config/config.ts";
import { parseConfigFile } from "../../src/config/config-file.ts";
import { type ConfigSources, parseConfig } from "../../src/config/parse-config.ts";
import { type Gateway, type GatewayDeps, startGateway } from "../../src/gateway.ts";
import { formatListenAddress } from "../../src/model/listen-address.ts";
import type { Log, LogFields } from "../../src/model/log.ts";
import { useDirectory } from "./use-directory.ts";

export interface LogLine {
  level: "debug" | "info" | "warn" | "error";
  message: string;
  error?: unknown;
  fields?: LogFields | undefined;
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
 * environment variables and a file. The test fails if the gateway logs an error, or does not
 * stop by itself. A test may stop it before its end.
 */
export async function useGateway(
  env: Record<string, string> = {},
  fixed: ConfigSources["fixed"] = {},
  file = "",
  deps: Pick<GatewayDeps, "lookup"> = {},
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
    file,
  );
  const started = await startGateway({ config, version: "0.0.0-test", log: recordLog(log), ...deps });
  let stopped: ReturnType<Gateway["stop"]> | undefined;
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

/** Parses a configuration that must be right. It reads no files but those, and temporary ones. */
export function configOf(env: Record<string, string>, fixed: ConfigSources["fixed"] = {}, file = ""): Config {
  const result = parseConfig({
    fixed,
    env,
    flags: {},
    file: parseConfigFile("taskgate.yaml", file),
    readFile(path) {
      if (!path.startsWith(tlsPath("")) && !path.startsWith(tmpdir())) {
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
    debug: (message, fields) => lines.push({ level: "debug", message, fields }),
    info: (message, fields) => lines.push({ level: "info", message, fields }),
    warn: (message, fields) => lines.push({ level: "warn", message, fields }),
    error: (message, error, fields) => lines.push({ level: "error", message, fields, error }),
  };
}
