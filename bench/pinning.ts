import { spawnSync } from "node:child_process";

/** What a process does in a benchmark. */
export type Role = "server" | "client";

/** Keeps servers and clients on processors of their own, where the machine can. */
export interface Pinning {
  /** What is done, for people. */
  description: string;
  /** The command that runs `command` in its place. */
  wrap(role: Role, command: readonly string[]): readonly string[];
}

const processors: Record<Role, string> = { client: "0", server: "1" };

/** Finds out whether `taskset` is there and may use two processors. */
export function findPinning(): Pinning {
  const works = Object.values(processors).every(
    (processor) => spawnSync("taskset", ["-c", processor, "true"]).status === 0,
  );
  if (!works) {
    return {
      description: "not pinned: taskset is missing, or may not use two processors",
      wrap: (_, command) => command,
    };
  }
  return {
    description: `servers on processor ${processors.server}, clients on processor ${processors.client}`,
    wrap: (role, command) => ["taskset", "-c", processors[role], ...command],
  };
}
