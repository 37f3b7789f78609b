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
export function skeletonArgs(listen: string): string[] {
  return [pathOf("./skeleton.ts"), listen];
}

/** Starts taskgate on a free port. */
export function startTaskgate(children: ChildProcesses, ...flags: string[]): Promise<ServerProcess> {
  return startServer(children, taskgateArgs("127.0.0.1:0", ...flags));
}

/** Starts a bare grpc-js server on a free port, which gives one method always the same answer. */
export function startGrpcJs(children: ChildProcesses, path: string, answer: Buffer): Promise<ServerProcess> {
  return startServer(children, [pathOf("./grpc-js-server.ts"), path, answer.toString("base64")]);
}

function pathOf(file: string): string {
  return fileURLToPath(new URL(file, import.meta.url));
}
