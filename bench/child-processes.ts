import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { once } from "node:events";
import type { Pinning, Role } from "./pinning.ts";

/** The processes that a run has started. */
export interface ChildProcesses {
  /** Starts Node with the given arguments. */
  start(role: Role, args: readonly string[], options: SpawnOptions): ChildProcess;
  /** Starts any command. */
  startCommand(role: Role, command: readonly string[], options: SpawnOptions): ChildProcess;
  /** Kills all that still run, at once. */
  killAll(): void;
}

/** Creates an empty set of processes. */
export function createChildProcesses(pinning: Pinning): ChildProcesses {
  const running = new Set<ChildProcess>();
  function startCommand(role: Role, wanted: readonly string[], options: SpawnOptions): ChildProcess {
    const [command = "", ...args] = pinning.wrap(role, wanted);
    // Nothing of the user's environment configures what is measured.
    const child = spawn(command, args, { ...options, env: { PATH: process.env.PATH } });
    running.add(child);
    child.once("exit", () => running.delete(child));
    return child;
  }
  return {
    start: (role, args, options) => startCommand(role, [process.execPath, ...args], options),
    startCommand,
    killAll() {
      for (const child of running) {
        child.kill("SIGKILL");
      }
    },
  };
}

/** Kills a process, and resolves when it is gone. */
export async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    const exit = once(child, "exit");
    child.kill("SIGKILL");
    await exit;
  }
}

/** Rejects when a process ends. */
export async function failOnExit(child: ChildProcess): Promise<never> {
  const [code, signal] = await once(child, "exit");
  throw new Error(`${child.spawnargs.join(" ")} ended with ${signal ?? code}`);
}
