import { chownSync, cpSync } from "node:fs";
import net from "node:net";
import { join } from "node:path";
import { findFreePort } from "../../support/free-port.ts";
import { installPostgres } from "./postgres-packages.ts";
import type { Venv } from "./python.ts";
import { Skip, type Stage, until } from "./stage.ts";

export interface Postgres {
  /** `15.18`. */
  version: string;
  port: number;
}

/**
 * Starts an empty PostgreSQL with pgvector on loopback, whose superuser `interop`
 * needs no password: the one whose programs are in the folder that
 * TASKGATE_INTEROP_POSTGRES names, or one from the package registries.
 */
export async function startPostgres(stage: Stage, venv: Venv): Promise<Postgres> {
  const bin = await findPostgres(stage, venv);
  const directory = stage.directory();
  // PostgreSQL does not run as root.
  const uid = process.getuid?.() === 0 ? await unprivilegedUser(stage) : undefined;
  if (uid !== undefined) {
    chownSync(directory, uid, uid);
  }
  const data = join(directory, "data");
  const options = {
    cwd: directory,
    env: { PATH: process.env.PATH, LC_ALL: "C" },
    ...(uid === undefined ? {} : { uid }),
  };
  const made = await stage.run(
    join(bin, "initdb"),
    ["--pgdata", data, "--username", "interop", "--auth", "trust", "--encoding", "UTF8", "--no-sync"],
    options,
  );
  if (made.code !== 0) {
    throw new Error(`initdb: ${made.stderr}`);
  }
  const port = await findFreePort();
  const settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", `port=${port}`, "fsync=off"];
  const server = stage.start(
    join(bin, "postgres"),
    ["-D", data, ...settings.flatMap((setting) => ["-c", setting])],
    options,
  );
  // Disconnects whoever is still connected, which SIGTERM would wait for.
  stage.onEnd(() => server.stop("SIGINT"));
  await until("PostgreSQL is ready", () => {
    if (!server.isRunning()) {
      throw new Error(`PostgreSQL has ended: ${server.output()}`);
    }
    return server.output().includes("ready to accept connections") ? canConnect(port) : undefined;
  });
  const { stdout } = await stage.run(join(bin, "postgres"), ["--version"], options);
  return { version: /\d+(\.\d+)*/.exec(stdout)?.[0] ?? "", port };
}

// A folder of PostgreSQL's own programs, which the user that runs it may read.
async function findPostgres(stage: Stage, venv: Venv): Promise<string> {
  const named = process.env.TASKGATE_INTEROP_POSTGRES;
  if (named !== undefined) {
    return named;
  }
  const installed = await installPostgres(stage, venv);
  if (process.getuid?.() !== 0) {
    return join(installed, "bin");
  }
  // Nobody else may look into root's checkout.
  const copy = join(stage.directory(), "postgresql");
  cpSync(installed, copy, { recursive: true, verbatimSymlinks: true });
  return join(copy, "bin");
}

async function unprivilegedUser(stage: Stage): Promise<number> {
  for (const user of ["postgres", "nobody"]) {
    const { code, stdout } = await stage.run("id", ["-u", user]);
    if (code === 0) {
      return Number(stdout);
    }
  }
  throw new Skip("PostgreSQL does not run as root, and there is no other user");
}

function canConnect(port: number): Promise<true | undefined> {
  return new Promise((resolve) => {
    const socket = net.connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(undefined));
  });
}
