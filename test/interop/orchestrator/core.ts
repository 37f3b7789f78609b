import { readFileSync } from "node:fs";
import { findFreePort } from "../../support/free-port.ts";
import { parseExactly } from "../support/json.ts";
import type { Redis } from "../support/redis.ts";
import { type Running, type Stage, until } from "../support/stage.ts";
import type { CoreHome } from "./core-home.ts";

/** A process, as far as it is read here. */
export interface Process {
  last_status: string;
  failed_reason: string | null;
  current_state: Record<string, unknown>;
  steps: { name: string; status: string }[];
}

/** Who runs the workflows: threads of the server, or Celery's workers. */
export type Executor = { kind: "threadpool" } | { kind: "celery"; redis: Redis; workers: number };

/** A real Workflow Orchestrator. */
export interface Core {
  url: string;
  executor: Executor["kind"];
  /** Starts a workflow, and resolves with the process. */
  start(workflow: string): Promise<string>;
  process(id: string): Promise<Process>;
  /** Resolves when the process has one of these statuses. */
  reach(id: string, ...statuses: string[]): Promise<Process>;
  abort(id: string): Promise<void>;
  /** The operator's button, for what failed or waits. */
  resume(id: string): Promise<void>;
  lock(isLocked: boolean): Promise<void>;
  /** Each run of a validation step of the process. */
  validations(processId: string): { job: string; result: unknown }[];
  /** The end of what it has written. */
  log(): string;
  stop(): Promise<void>;
}

/** Starts orchestrator-core in its home. Only one may run there at a time. */
export async function startCore(stage: Stage, home: CoreHome, executor: Executor): Promise<Core> {
  const env = {
    ...home.env,
    EXECUTOR: executor.kind,
    ...(executor.kind === "celery" ? { CACHE_URI: executor.redis.url } : {}),
  };
  const options = { cwd: home.app, env };
  const running: Running[] = [];
  if (executor.kind === "celery") {
    const queues = "new_tasks,resume_tasks,new_workflows,resume_workflows";
    const app = ["-m", "celery", "-A", "celery_worker", "worker", "--loglevel", "INFO"];
    const worker = stage.start(
      home.python,
      [...app, "--queues", queues, "--concurrency", String(executor.workers)],
      options,
    );
    running.push(worker);
    await until("Celery's workers are ready", () => saysReady(worker), 180_000);
  }
  const port = await findFreePort();
  const url = `http://127.0.0.1:${port}`;
  const server = stage.start(
    home.python,
    ["-m", "uvicorn", "--host", "127.0.0.1", "--port", String(port), "wsgi:app"],
    options,
  );
  running.push(server);
  await until("orchestrator-core serves", () => isHealthy(server, url), 180_000);

  async function api(method: string, path: string, body?: unknown): Promise<unknown> {
    const response = await fetch(`${url}/api${path}`, {
      method,
      headers: { "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(60_000),
    });
    const text = await response.text();
    if (!response.ok) {
      throw new Error(`${method} ${path}: ${response.status} ${text}\n${server.output().slice(-4000)}`);
    }
    return text === "" ? undefined : parseExactly(text);
  }

  async function readProcess(id: string): Promise<Process> {
    return (await api("GET", `/processes/${id}`)) as Process;
  }

  return {
    url,
    executor: executor.kind,
    async start(workflow) {
      const { id } = (await api("POST", `/processes/${workflow}`, [{}])) as { id: string };
      return id;
    },
    process: readProcess,
    async reach(id, ...statuses) {
      let last: Process | undefined;
      try {
        return await until(`process ${id} is ${statuses.join(" or ")}`, async () => {
          last = await readProcess(id);
          return statuses.includes(last.last_status) ? last : undefined;
        });
      } catch (error) {
        throw new Error(`it is ${last?.last_status}: ${last?.failed_reason}`, { cause: error });
      }
    },
    async abort(id) {
      await api("PUT", `/processes/${id}/abort`);
    },
    async resume(id) {
      await api("PUT", `/processes/${id}/resume`, [{}]);
    },
    async lock(isLocked) {
      await api("PUT", "/settings/status", { global_lock: isLocked });
    },
    validations(processId) {
      return readFileSync(home.validationsFile, "utf8")
        .trimEnd()
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => parseExactly(line) as { process: string; job: string; result: unknown })
        .filter((line) => line.process === processId)
        .map(({ job, result }) => ({ job, result }));
    },
    log: () => running.map(({ output }) => output().slice(-4000)).join("\n"),
    async stop() {
      for (const each of running.toReversed()) {
        await each.stop();
      }
    },
  };
}

async function isHealthy(server: Running, url: string): Promise<true | undefined> {
  if (!server.isRunning()) {
    throw new Error(`orchestrator-core has ended: ${server.output()}`);
  }
  try {
    const response = await fetch(`${url}/api/health/`, { signal: AbortSignal.timeout(5000) });
    return response.ok ? true : undefined;
  } catch {
    return undefined;
  }
}

function saysReady(worker: Running): true | undefined {
  if (!worker.isRunning()) {
    throw new Error(`Celery's worker has ended: ${worker.output()}`);
  }
  return / ready\.$/m.test(worker.output()) ? true : undefined;
}
