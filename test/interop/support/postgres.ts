import { chownSync, existsSync, readdirSync } from "node:fs";
import net from "node:net";
import { join } from "node:path";
import { cacheDirectory, findFreePort, Skip, type Stage, until } from "./stage.ts";

export interface Postgres {
  /** `15.18`. */
  version: string;
  port: number;
}

/** Starts an empty PostgreSQL with pgvector on loopback, whose superuser `interop` needs no password. */
export async function startPostgres(stage: Stage): Promise<Postgres> {
  const bin = await findPostgres(stage);
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

async function findPostgres(stage: Stage): Promise<string> {
  const named = process.env.TASKGATE_INTEROP_POSTGRES;
  // The first is where Debian packages may be unpacked (dpkg-deb -x) without installing them.
  const places = [join(cacheDirectory(), "postgresql-root/usr/lib/postgresql"), "/usr/lib/postgresql"];
  const found = places.flatMap((place) =>
    existsSync(place)
      ? readdirSync(place)
          .toSorted((one, other) => Number(other) - Number(one))
          .map((version) => join(place, version, "bin"))
      : [],
  );
  for (const bin of named === undefined ? found : [named]) {
    const { code, stdout } = await stage.run(join(bin, "pg_config"), ["--version", "--sharedir"]);
    const [version = "", share = ""] = stdout.split("\n");
    const major = Number(/\d+/.exec(version)?.[0]);
    if (code === 0 && major >= 15 && existsSync(join(share, "extension", "vector.control"))) {
      return bin;
    }
  }
  throw new Skip(
    "there is no PostgreSQL 15 or newer with pgvector: install Debian's postgresql-17-pgvector, or name its bin directory in TASKGATE_INTEROP_POSTGRES",
  );
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
