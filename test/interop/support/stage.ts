import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { inspect, isDeepStrictEqual } from "node:util";

/** What a run needs cannot be had here: it is skipped, which is not a failure. */
export class Skip extends Error {}

export interface CommandOptions {
  cwd?: string;
  /** The only variables that it gets. */
  env?: NodeJS.ProcessEnv;
  /** Runs as this user and group. */
  uid?: number;
  /** It leads a process group, to which every signal goes: what it has started ends with it. */
  ownGroup?: boolean;
  stdin?: string;
  timeoutMs?: number;
}

export interface Running {
  readonly pid: number;
  readonly output: () => string;
  readonly isRunning: () => boolean;
  /** Resolves with the exit code or the signal, once it has ended by itself or was stopped. */
  readonly ended: Promise<number | string>;
  /** Asks it to end, and kills it when it does not. Resolves with the exit code or the signal. */
  stop(signal?: NodeJS.Signals): Promise<number | string>;
}

/** Where a run takes place. All that it has begun or made is gone at its end. */
export interface Stage {
  say(line: string): void;
  /** Counts a check, and tells one that fails. */
  check(what: string, actual: unknown, expected: unknown): void;
  /** Tells loudly that a part is not run, and why; the rest goes on. */
  skip(part: string, reason: string): void;
  /** A directory of its own, which everybody may read. */
  directory(): string;
  /** Runs a command to its end. */
  run(
    command: string,
    args: readonly string[],
    options?: CommandOptions,
  ): Promise<{ code: number | string; stdout: string; stderr: string }>;
  /** Starts a command that stays. */
  start(command: string, args: readonly string[], options?: CommandOptions): Running;
  /** Done at the end, the last one first. */
  onEnd(cleanUp: () => unknown): void;
}

const inspectOptions = { depth: 6, breakLength: Infinity, maxStringLength: 2000 };
const outputLimit = 256 * 1024;

/**
 * Runs one interop test as a process of its own. The last line says `PASSED`,
 * `FAILED` or `SKIPPED`; the exit code is 1 only for a failure. What has failed
 * before something is found missing stays failed. How long it may take, `run.ts` says.
 */
export async function runInterop(name: string, perform: (stage: Stage) => Promise<void>): Promise<never> {
  const children = new Map<ChildProcess, Signaller>();
  const ends: (() => unknown)[] = [];
  const startMs = performance.now();
  let checks = 0;
  let failures = 0;

  function say(line: string): void {
    process.stdout.write(`${line}\n`);
  }

  function spawnChild(
    command: string,
    args: readonly string[],
    options: CommandOptions,
  ): { child: ChildProcess; signal: Signaller } {
    const child = spawn(command, args, {
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      ...(options.uid === undefined ? {} : { uid: options.uid, gid: options.uid }),
      env: options.env ?? process.env,
      detached: options.ownGroup ?? false,
      stdio: ["pipe", "pipe", "pipe"],
    });
    const signal = options.ownGroup ? signalGroup(child) : (name: NodeJS.Signals) => void child.kill(name);
    children.set(child, signal);
    child.once("close", () => children.delete(child));
    child.stdin?.on("error", () => undefined);
    child.stdin?.end(options.stdin ?? "");
    return { child, signal };
  }

  const stage: Stage = {
    say,
    check(what, actual, expected) {
      checks += 1;
      if (isDeepStrictEqual(actual, expected)) {
        say(`ok      ${what}`);
        return;
      }
      failures += 1;
      say(`FAILED  ${what}`);
      say(`        expected ${inspect(expected, inspectOptions)}`);
      say(`        got      ${inspect(actual, inspectOptions)}`);
    },
    skip: (part, reason) => say(`SKIPPED  ${part}: ${reason}`),
    directory() {
      const path = mkdtempSync(join(tmpdir(), "taskgate-interop-"));
      chmodSync(path, 0o755);
      ends.push(() => rmSync(path, { recursive: true, force: true }));
      return path;
    },
    async run(command, args, options = {}) {
      const { child, signal: send } = spawnChild(command, args, options);
      let stdout = "";
      let stderr = "";
      child.stdout?.on("data", (chunk) => {
        stdout += chunk;
      });
      child.stderr?.on("data", (chunk) => {
        stderr = (stderr + chunk).slice(-outputLimit);
      });
      const timer = setTimeout(() => send("SIGKILL"), options.timeoutMs ?? 60_000);
      try {
        const [code, signal] = await once(child, "close");
        return { code: code ?? signal, stdout, stderr };
      } catch (error) {
        return { code: "not started", stdout, stderr: String(error) };
      } finally {
        clearTimeout(timer);
      }
    },
    start(command, args, options = {}) {
      const { child, signal: send } = spawnChild(command, args, options);
      let output = "";
      function onData(chunk: Buffer): void {
        output = (output + chunk).slice(-outputLimit);
      }
      child.stdout?.on("data", onData);
      child.stderr?.on("data", onData);
      const ended = once(child, "close").then(
        ([code, signal]): number | string => code ?? signal,
        () => "not started",
      );
      let stopped: Promise<number | string> | undefined;
      const running: Running = {
        pid: child.pid ?? 0,
        output: () => output,
        ended,
        isRunning: () => children.has(child) && child.exitCode === null && child.signalCode === null,
        stop(signal = "SIGTERM") {
          stopped ??= stopChild(send, signal, ended);
          return stopped;
        },
      };
      ends.push(() => running.stop());
      return running;
    },
    onEnd: (cleanUp) => ends.push(cleanUp),
  };

  let leaving: Promise<never> | undefined;
  let problem: unknown;
  process.once("SIGINT", () => void leave("was interrupted"));
  process.once("SIGTERM", () => void leave("was interrupted"));
  try {
    await perform(stage);
  } catch (error) {
    problem = error;
  }
  return leave(problem);

  function leave(reason: unknown): Promise<never> {
    // What breaks because all is being ended must not cut the cleaning short.
    leaving ??= end(reason);
    return leaving;
  }

  async function end(reason: unknown): Promise<never> {
    for (const cleanUp of ends.splice(0).reverse()) {
      try {
        await cleanUp();
      } catch (error) {
        say(`        could not clean up: ${String(error)}`);
      }
    }
    for (const send of children.values()) {
      send("SIGKILL");
    }
    const seconds = ((performance.now() - startMs) / 1000).toFixed(0);
    if (reason instanceof Skip && failures === 0) {
      say(`SKIPPED: ${reason.message}`);
      process.exit(0);
    }
    if (reason !== undefined) {
      say(`        ${reason instanceof Error ? (reason.stack ?? reason.message) : String(reason)}`);
    }
    const isPassed = reason === undefined && failures === 0 && checks > 0;
    say(
      isPassed
        ? `PASSED: ${name}, ${checks} checks in ${seconds} s`
        : `FAILED: ${name}, ${failures} of ${checks} checks in ${seconds} s${reason === undefined ? "" : ", and it broke off"}`,
    );
    process.exit(isPassed ? 0 : 1);
  }
}

type Signaller = (name: NodeJS.Signals) => void;

function signalGroup(child: ChildProcess): Signaller {
  return (name) => {
    try {
      // Without a process id it was never started; the group may be gone already.
      if (child.pid !== undefined) {
        process.kill(-child.pid, name);
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") {
        throw error;
      }
    }
  };
}

async function stopChild(
  send: Signaller,
  signal: NodeJS.Signals,
  ended: Promise<number | string>,
): Promise<number | string> {
  send(signal);
  const timer = setTimeout(() => send("SIGKILL"), 10_000);
  const code = await ended;
  clearTimeout(timer);
  return code;
}

/** Asks again and again, until there is an answer other than undefined. */
export async function until<T>(
  what: string,
  ask: () => Promise<T | undefined> | T | undefined,
  timeoutMs = 120_000,
): Promise<T> {
  const endMs = performance.now() + timeoutMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) {
      return answer;
    }
    if (performance.now() > endMs) {
      throw new Error(`${what}: not within ${timeoutMs / 1000} s`);
    }
    await sleep(100);
  }
}

/** Where what takes long to get is kept between runs. */
export function cacheDirectory(): string {
  const path = new URL("../../../node_modules/.cache/taskgate-interop", import.meta.url).pathname;
  mkdirSync(path, { recursive: true });
  return path;
}
