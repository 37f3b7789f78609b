import { type ChildProcess, spawn } from "node:child_process";
import { closeSync } from "node:fs";
import type { Readable } from "node:stream";
import type { ChildEnd } from "./child-end.ts";
import { makePipes } from "./named-pipes.ts";

/** A command that was started, or could not be. */
export interface Child {
  /** Undefined: the command writes to ours. */
  stdout: Readable | undefined;
  stderr: Readable | undefined;
  /** Resolves when the process itself is over, whatever it left behind. */
  ended: Promise<ChildEnd>;
  /** Nothing once it is over. */
  kill: (signal: NodeJS.Signals) => void;
}

export interface ChildOptions {
  command: string;
  args: readonly string[];
  env: Readonly<Record<string, string | undefined>>;
  /** Its standard output is read; else it writes to ours. */
  readsStdout: boolean;
  /** For the names of pipes. Undefined: sockets must do. */
  pipeDirectory: string | undefined;
}

/**
 * Starts a command in our process group, without a shell, on our standard input.
 * Its standard error is read. Never throws.
 */
export function startChild({ command, args, env, readsStdout, pipeDirectory }: ChildOptions): Child {
  const pipes = pipeDirectory && makePipes(pipeDirectory, readsStdout ? 2 : 1);
  const [stderrPipe, stdoutPipe] = pipes || [];
  let child: ChildProcess;
  try {
    child = spawn(command, args, {
      env,
      stdio: [
        "inherit",
        readsStdout ? (stdoutPipe?.writeFd ?? "pipe") : "inherit",
        stderrPipe?.writeFd ?? "pipe",
      ],
    });
  } catch (error) {
    const ended = Promise.resolve(notStarted(error));
    return { stdout: undefined, stderr: undefined, ended, kill: () => undefined };
  } finally {
    for (const { writeFd } of pipes || []) {
      closeSync(writeFd);
    }
  }
  return {
    stdout: stdoutPipe?.read() ?? child.stdout ?? undefined,
    stderr: stderrPipe?.read() ?? child.stderr ?? undefined,
    ended: new Promise((resolve) => {
      child.on("error", (error) => {
        // Afterwards it also says when a signal could not be sent.
        if (child.pid === undefined) {
          resolve(notStarted(error));
        }
      });
      child.on("exit", (code, signal) =>
        resolve(signal === null ? { kind: "exited", code: code ?? 1 } : { kind: "killed", signal }),
      );
    }),
    kill: (signal) => child.kill(signal),
  };
}

function notStarted(error: unknown): ChildEnd {
  return { kind: "notStarted", errorCode: (error as NodeJS.ErrnoException).code ?? "unknown" };
}
