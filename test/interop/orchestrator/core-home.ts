import { cpSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startPostgres } from "../support/postgres.ts";
import { installedVersion, makeVenv } from "../support/python.ts";
import type { Stage } from "../support/stage.ts";

/** An Orchestrator's database and workflows, in which it can be started. */
export interface CoreHome {
  python: string;
  /** The folder of its application. */
  app: string;
  env: NodeJS.ProcessEnv;
  /** A line for each run of a validation step. */
  validationsFile: string;
  /** Its version, PostgreSQL's and Python's. */
  versions: string;
}

/** Makes the database of orchestrator-core; its workflows submit jobs to `jobsUrl`. */
export async function makeCoreHome(stage: Stage, jobsUrl: string): Promise<CoreHome> {
  const requirements = new URL("../requirements-orchestrator-core.txt", import.meta.url).pathname;
  const venv = await makeVenv(stage, requirements);
  const postgres = await startPostgres(stage, venv);
  const version = await installedVersion(stage, venv, "orchestrator-core");
  const directory = stage.directory();
  const app = join(directory, "app");
  cpSync(new URL("app", import.meta.url).pathname, app, { recursive: true });
  const validationsFile = join(directory, "validations");
  writeFileSync(validationsFile, "");
  const env = {
    PATH: process.env.PATH,
    HOME: directory,
    DATABASE_URI: `postgresql+psycopg://interop@127.0.0.1:${postgres.port}/postgres`,
    OAUTH2_ACTIVE: "False",
    TESTING: "False",
    ENVIRONMENT: "local",
    LOG_LEVEL: "INFO",
    // Nothing beyond this machine is asked.
    LITELLM_LOCAL_MODEL_COST_MAP: "True",
    NO_PROXY: "*",
    JOBS_URL: jobsUrl,
    VALIDATIONS_FILE: validationsFile,
  };
  stage.say(`        making the database of orchestrator-core ${version}`);
  for (const args of [["main.py", "db", "init"], ["main.py", "db", "upgrade", "heads"], ["register.py"]]) {
    const ended = await stage.run(venv.python, args, { cwd: app, env, timeoutMs: 300_000 });
    if (ended.code !== 0) {
      throw new Error(`${args.join(" ")} ended with ${ended.code}: ${ended.stdout}${ended.stderr}`);
    }
  }
  const versions = `orchestrator-core ${version}, PostgreSQL ${postgres.version}, Python ${venv.pythonVersion}`;
  return { python: venv.python, app, env, validationsFile, versions };
}
