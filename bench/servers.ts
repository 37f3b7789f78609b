import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { ChildProcesses } from "./child-processes.ts";
import { type ServerProcess, startServer } from "./server-process.ts";

/** The arguments that make Node serve taskgate as a user would. */
export function taskgateArgs(listen: string, ...flags: string[]): string[] {
  return [
    pathOf("../bin/taskgate.js"),
    "serve",
    `--listen=${listen}`,
    "--ops-listen=off",
    "--log-level=info",
    ...flags,
  ];
}

/** The arguments that make Node serve the skeleton. */
export function skeletonArgs(listen: string, directory: string): string[] {
  return [pathOf("./skeleton.ts"), listen, directory];
}

/** Starts taskgate on a free port, with a data directory of its own. */
export function startTaskgate(children: ChildProcesses, ...flags: string[]): Promise<ServerProcess> {
  const directory = temporaryDirectory();
  return startServer(children, taskgateArgs("127.0.0.1:0", `--data-dir=${directory}`, ...flags));
}

/** Starts taskgate with an Orchestra at the given URL. */
export function startWithOrchestra(
  children: ChildProcesses,
  webhookUrl: string,
  ...flags: string[]
): Promise<ServerProcess> {
  const keyFile = join(temporaryDirectory(), "key");
  writeFileSync(keyFile, "key-of-the-benchmark");
  return startTaskgate(
    children,
    `--orchestra-webhook-url=${webhookUrl}`,
    `--orchestra-api-key-file=${keyFile}`,
    ...flags,
  );
}

/** A directory until the process ends. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "taskgate-bench-"));
  process.once("exit", () => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Starts a bare grpc-js server on a free port, which gives one method always the same answer. */
export function startGrpcJs(children: ChildProcesses, path: string, answer: Buffer): Promise<ServerProcess> {
  return startServer(children, [pathOf("./grpc-js-server.ts"), path, answer.toString("base64")]);
}

/** Starts Connect's own adapter on a free port, which gives one method always the same answer. */
export function startConnect(children: ChildProcesses, path: string, answer: Buffer): Promise<ServerProcess> {
  return startServer(children, [pathOf("./connect-server.ts"), path, answer.toString("base64")]);
}

/** Starts a bare grpc-js server that answers each frame of `TrackRun`. */
export function startGrpcJsStreams(children: ChildProcesses): Promise<ServerProcess> {
  return startServer(children, [pathOf("./grpc-js-streams.ts")]);
}

/** Starts an upstream that takes everything, where the clients are. */
export function startUpstream(children: ChildProcesses, listen = "127.0.0.1:0"): Promise<ServerProcess> {
  return startServer(children, [pathOf("./upstream-server.ts"), listen], "client");
}

/** What an upstream took. */
export interface Taken {
  /** POSTs. */
  count: number;
  /** Those of them that report a task as failed. */
  failed: number;
  /** From the first to the last of them. */
  elapsedMs: number;
}

/** Asks such an upstream what it took. */
export async function readTaken(address: string): Promise<Taken> {
  const answer = await fetch(`http://${address}/`);
  return (await answer.json()) as Taken;
}

/**
 * Sends so many POSTs with undici alone, in a process where the servers are. Resolves with
 * what it used of a processor for them, in milliseconds.
 */
export async function sendWithUndici(
  children: ChildProcesses,
  origin: string,
  count: number,
): Promise<number> {
  const sender = children.start("server", [pathOf("./undici-sender.ts"), origin, String(count)], {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  let cpuMs = 0;
  sender.once("message", (usedMs: number) => {
    cpuMs = usedMs;
  });
  const [code] = await once(sender, "close");
  if (code !== 0) {
    throw new Error(`the sender ended with ${code}`);
  }
  return cpuMs;
}

function pathOf(file: string): string {
  return fileURLToPath(new URL(file, import.meta.url));
}
