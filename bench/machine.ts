import { readFileSync } from "node:fs";
import os from "node:os";

/** Where and with what a run was made. */
export interface Machine {
  cpu: string;
  cores: number;
  memoryMiB: number;
  kernel: string;
  node: string;
  /** Processes that wanted to run in the minute before, besides this one: what else was going on. */
  load: number;
  /** Versions of the packages that are measured, as installed. */
  packages: Record<string, string>;
}

const measuredPackages = [
  "@bufbuild/protobuf",
  "@connectrpc/connect",
  "@connectrpc/connect-node",
  "@grpc/grpc-js",
  "@grpc/proto-loader",
  "js-yaml",
  "pino",
  "undici",
];

/** Describes this machine. */
export function describeMachine(): Machine {
  const cpus = os.cpus();
  return {
    cpu: cpus[0]?.model ?? "unknown",
    cores: cpus.length,
    memoryMiB: Math.round(os.totalmem() / 1024 / 1024),
    kernel: `${os.type()} ${os.release()} ${os.arch()}`,
    node: process.version,
    load: os.loadavg()[0] ?? 0,
    packages: {
      taskgate: versionIn("../package.json"),
      ...Object.fromEntries(
        measuredPackages.map((name) => [name, versionIn(`../node_modules/${name}/package.json`)]),
      ),
    },
  };
}

function versionIn(path: string): string {
  return JSON.parse(readFileSync(new URL(path, import.meta.url), "utf8")).version;
}
