import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import type { Context } from "./scenario.ts";

const bin = new URL("../../bin/taskgate.js", import.meta.url).pathname;

/** What a container ended with: its exit code, or the signal; undefined: it was never started. */
export type ContainerEnd = number | string | undefined;

/** How a pod has lived, as `kubectl describe` would tell. */
export interface PodLife {
  worker: ContainerEnd;
  gateway: ContainerEnd;
  /** From its start until the startup probe let the worker begin; undefined: it never did. */
  gateMs: number | undefined;
  /** From the worker's end, or the deletion, until the last container's end. */
  endMs: number;
  gatewayLog: string;
}

export interface PodOptions {
  /** Of the gateway. */
  env: Record<string, string>;
  opsPort: number;
  /** What the worker does, as a program for Node; it is run by `taskgate run`. */
  program: string;
  workerEnv: Record<string, string>;
  graceMs: number;
  /** When it is deleted, behind the worker's start. Default: never, and the worker ends by itself. */
  deleteAfterMs?: number;
  /** How long the gateway may take to pass its startup probe. */
  gateTimeoutMs?: number;
  /** The safeguard: off, the worker is started at once. */
  hasGate?: boolean;
}

// What is left when the grace period is over has so long, between SIGTERM and SIGKILL.
const lastMs = 2000;
const probePeriodMs = 100;

/**
 * Lives a pod's life with a native sidecar, as the kubelet has it live (KEP-753): the
 * gateway, its startup probe, the worker, its end or the pod's deletion, SIGTERM to the
 * worker, then to the gateway, and one grace period for both.
 */
export async function livePod(context: Context, options: PodOptions): Promise<PodLife> {
  const { env, opsPort, program, workerEnv, graceMs, deleteAfterMs, hasGate = true } = options;
  const gateway = start(context, ["serve"], env);
  const startMs = performance.now();
  const isStarted = !hasGate || (await isOpen(opsPort, gateway, options.gateTimeoutMs ?? 30_000));
  const gateMs = performance.now() - startMs;
  if (!isStarted) {
    await kill(gateway);
    return {
      worker: undefined,
      gateway: endOf(gateway),
      gateMs: undefined,
      endMs: 0,
      gatewayLog: gateway.log(),
    };
  }
  const worker = start(context, ["run", "--", process.execPath, "-e", program], workerEnv);
  const deletion = new Promise<"deleted">((resolve) => {
    if (deleteAfterMs !== undefined) {
      setTimeout(() => resolve("deleted"), deleteAfterMs);
    }
  });
  const isDeleted = (await Promise.race([worker.ended, deletion])) === "deleted";
  const endingMs = performance.now();
  const isOver = new Promise<void>((resolve) => setTimeout(resolve, graceMs));
  if (isDeleted) {
    worker.child.kill("SIGTERM");
    await Promise.race([worker.ended, isOver]);
  }
  const isGatewayTold = endOf(worker) !== undefined;
  if (isGatewayTold) {
    gateway.child.kill("SIGTERM");
    await Promise.race([gateway.ended, isOver]);
  }
  const left = [worker, gateway].filter((container) => endOf(container) === undefined);
  if (left.length > 0) {
    // Who was told before is not told again: a second signal would end it at once.
    if (!isGatewayTold) {
      gateway.child.kill("SIGTERM");
    }
    await Promise.race([
      Promise.all(left.map(({ ended }) => ended)),
      new Promise((resolve) => setTimeout(resolve, lastMs)),
    ]);
    await Promise.all(left.map(kill));
  }
  return {
    worker: endOf(worker),
    gateway: endOf(gateway),
    gateMs: hasGate ? gateMs : undefined,
    endMs: performance.now() - endingMs,
    gatewayLog: gateway.log(),
  };
}

interface Container {
  child: ChildProcess;
  ended: Promise<unknown>;
  log: () => string;
}

function start(context: Context, args: string[], env: Record<string, string>): Container {
  const child = spawn(process.execPath, [bin, ...args], { env, stdio: ["ignore", "ignore", "pipe"] });
  let log = "";
  child.stderr?.on("data", (chunk) => {
    log = (log + chunk).slice(-16 * 1024);
  });
  const container = { child, ended: once(child, "exit"), log: () => log };
  context.defer(() => kill(container));
  return container;
}

async function kill(container: Container): Promise<void> {
  container.child.kill("SIGKILL");
  await container.ended;
}

function endOf({ child }: Container): ContainerEnd {
  return child.exitCode ?? child.signalCode ?? undefined;
}

async function isOpen(port: number, gateway: Container, timeoutMs: number): Promise<boolean> {
  const untilMs = performance.now() + timeoutMs;
  while (performance.now() < untilMs && endOf(gateway) === undefined) {
    const response = await fetch(`http://127.0.0.1:${port}/startupz`).catch(() => undefined);
    if (response?.status === 200) {
      return true;
    }
    await new Promise((resolve) => setTimeout(resolve, probePeriodMs));
  }
  return false;
}
