import { cpSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseExactly } from "../support/json.ts";
import { startPostgres } from "../support/postgres.ts";
import { installedVersion, makeVenv } from "../support/python.ts";
import { findFreePort, type Running, type Stage, until } from "../support/stage.ts";

/** A process, as far as it is read here. */
export interface Process {
  last_status: string;
  failed_reason: string | null;
  current_state: Record<string, unknown>;
  steps: { name: string; status: string }[];
}

/** A real Workflow Orchestrator. */
export interface Core {
  url: string;
  /** Its version, PostgreSQL's and Python's. */
  versions: string;
  /** Starts a workflow, and resolves with the process. */
  start(workflow: string): Promise<string>;
  process(id: string): Promise<Process>;
  /** Resolves when the process has this status. */
  reach(id: string, status: string): Promise<Process>;
  lock(isLocked: boolean): Promise<void>;
  /** Each run of a validation step of the process. */
  validations(processId: string): { job: string; result: unknown }[];
}

/** Starts orchestrator-core with its database; it submits jobs to `jobsUrl`. */
export async function startCore(stage: Stage, jobsUrl: string): Promise<Core> {
  const requirements = new URL("../requirements-orchestrator-core.txt", import.meta.url).pathname;
  const postgres = await startPostgres(stage);
  const venv = await makeVenv(stage, requirements);
  const version = await installedVersion(stage, venv, "orchestrator-core");
  const directory = stage.directory();
  const app = join(directory, "app");
  cpSync(new URL("app", import.meta.url).pathname, app, { recursive: true });
  const validationsFile = join(directory, "validations");
  const env = {
    PATH: process.env.PATH,
    HOME: directory,
    DATABASE_URI: `postgresql+psycopg://interop@127.0.0.1:${postgres.port}/postgres`,
    OAUTH2_ACTIVE: "False",
    TESTING: "False",
    EXECUTOR: "threadpool",
    ENVIRONMENT: "local",
    LOG_LEVEL: "INFO",
    // Nothing beyond this machine is asked.
    LITELLM_LOCAL_MODEL_COST_MAP: "True",
    NO_PROXY: "*",
    JOBS_URL: jobsUrl,
    VALIDATIONS_FILE: validationsFile,
  };

  async function python(...args: string[]): Promise<void> {
    const ended = await stage.run(venv.python, args, { cwd: app, env, timeoutMs: 180_000 });
    if (ended.code !== 0) {
      throw new Error(`${args.join(" ")} ended with ${ended.code}: ${ended.stdout}${ended.stderr}`);
    }
  }

  stage.say(`        making the database of orchestrator-core ${version}`);
  await python("main.py", "db", "init");
  await python("main.py", "db", "upgrade", "heads");
  await python("register.py");

  const port = await findFreePort();
  const url = `http://127.0.0.1:${port}`;
  const server = stage.start(
    venv.python,
    ["-m", "uvicorn", "--host", "127.0.0.1", "--port", String(port), "wsgi:app"],
    { cwd: app, env },
  );
  await until("orchestrator-core serves", () => isHealthy(server, url), 180_000);

  async function api(method: string, path: string, body?: unknown): Promise<unknown> {
    const response = await fetch(`${url}/api${path}`, {
      method,
      headers: { "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(30_000),
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
    versions: `orchestrator-core ${version}, PostgreSQL ${postgres.version}, Python ${venv.pythonVersion}`,
    async start(workflow) {
      const { id } = (await api("POST", `/processes/${workflow}`, [{}])) as { id: string };
      return id;
    },
    process: readProcess,
    async reach(id, status) {
      let last: Process | undefined;
      try {
        return await until(`process ${id} is ${status}`, async () => {
          last = await readProcess(id);
          return last.last_status === status ? last : undefined;
        });
      } catch (error) {
        throw new Error(`it is ${last?.last_status}: ${last?.failed_reason}`, { cause: error });
      }
    },
    async lock(isLocked) {
      await api("PUT", "/settings/status", { global_lock: isLocked });
    },
    validations(processId) {
      return readFileSync(validationsFile, "utf8")
        .trimEnd()
        .split("\n")
        .map((line) => parseExactly(line) as { process: string; job: string; result: unknown })
        .filter((line) => line.process === processId)
        .map(({ job, result }) => ({ job, result }));
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
