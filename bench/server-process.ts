import type { ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import type { ChildProcesses } from "./child-processes.ts";
import type { Role } from "./pinning.ts";

/** A server that listens. */
export interface ServerProcess {
  pid: number;
  /** `host:port`. */
  address: string;
}

const timeLimitMs = 20_000;

/**
 * Starts a server, and resolves when it has logged, as a line of JSON on standard
 * error, the message `listening` with its address. Rejects with what it logged when
 * it ends instead.
 */
export async function startServer(
  children: ChildProcesses,
  args: readonly string[],
  role: Role = "server",
): Promise<ServerProcess> {
  const child = children.start(role, args, { stdio: ["ignore", "ignore", "pipe"] });
  const address = await addressOf(child);
  if (child.pid === undefined) {
    throw new Error("the server has no process id");
  }
  return { pid: child.pid, address };
}

function addressOf(child: ChildProcess): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const lines: string[] = [];
  const timer = setTimeout(() => fail(`does not listen after ${timeLimitMs} ms`), timeLimitMs);
  child.once("error", reject);
  child.once("close", () => fail("ended"));
  if (child.stderr !== null) {
    createInterface({ input: child.stderr }).on("line", (line) => {
      lines.push(line);
      const address = listeningAddress(line);
      if (address !== undefined) {
        clearTimeout(timer);
        resolve(address);
      }
    });
  }
  return promise;

  function fail(what: string): void {
    clearTimeout(timer);
    reject(new Error([`${child.spawnargs.join(" ")} ${what}`, ...lines].join("\n")));
  }
}

function listeningAddress(line: string): string | undefined {
  try {
    const { message, address } = JSON.parse(line);
    return message === "listening" && typeof address === "string" ? address : undefined;
  } catch {
    return undefined;
  }
}
