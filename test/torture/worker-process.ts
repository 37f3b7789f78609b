import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

const script = new URL("./lease-worker.ts", import.meta.url).pathname;

export interface WorkerOptions {
  /** host:port of the gateway. */
  address: string;
  token?: string;
  task: { kind: "run"; taskRunId: string } | { kind: "callback"; callbackRoute: string };
  /** The session to go on with. */
  sessionId?: string;
  onLost: "ON_LOST_FAIL" | "ON_LOST_IGNORE";
  beatMs: number;
  /** After such a silence of the gateway it tries another connection. */
  patienceMs: number;
}

/** What a worker says. */
export type WorkerEvent =
  | { event: "ready"; sessionId: string; isResumed: boolean }
  | { event: "beat"; beat: number }
  | { event: "answered"; beat: number }
  | { event: "cancelled"; cause: string }
  | { event: "ended"; reason: string | undefined; message: string | undefined };

/** A worker as its users run it. */
export interface WorkerProcess {
  readonly options: WorkerOptions;
  /** All that it has said; the wall clock says when. */
  readonly said: (WorkerEvent & { atMs: number })[];
  /** The first of a kind, once it is said. */
  saw<Kind extends WorkerEvent["event"]>(
    kind: Kind,
    timeoutMs: number,
  ): Promise<Extract<WorkerEvent, { event: Kind }> | undefined>;
  signal(name: "SIGKILL" | "SIGSTOP" | "SIGCONT"): void;
  readonly ended: Promise<unknown>;
}

const running = new Set<ChildProcess>();

/** Kills all that still run, at once. */
export function killWorkers(): void {
  for (const child of running) {
    child.kill("SIGKILL");
  }
}

/**
 * Starts a worker.
 *
 * @param netns the network namespace that it runs in
 */
export function startWorker(options: WorkerOptions, netns?: string): WorkerProcess {
  const command = [process.execPath, script, JSON.stringify(options)];
  const [file = "", ...args] = netns === undefined ? command : ["ip", "netns", "exec", netns, ...command];
  const child = spawn(file, args, { stdio: ["pipe", "pipe", "inherit"] });
  running.add(child);
  child.stdin?.on("error", () => undefined);
  const said: WorkerProcess["said"] = [];
  createInterface({ input: child.stdout }).on("line", (line) => said.push(JSON.parse(line)));
  const ended = once(child, "exit").then(() => running.delete(child));
  return {
    options,
    said,
    async saw(kind, timeoutMs) {
      const untilMs = performance.now() + timeoutMs;
      for (;;) {
        const found = said.find(({ event }) => event === kind);
        if (found !== undefined || performance.now() > untilMs) {
          return found as never;
        }
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    },
    signal: (name) => void child.kill(name),
    ended,
  };
}
