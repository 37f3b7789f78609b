import { existsSync, globSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { findFreePort } from "../../support/free-port.ts";
import { lastLine } from "./last-line.ts";
import { cacheDirectory, type Running, Skip, type Stage, until } from "./stage.ts";

export interface Redis {
  /** `7.0.15`. */
  version: string;
  url: string;
  /** Ends it, and with it all that it holds. */
  stop(): Promise<unknown>;
}

interface Program {
  command: string;
  env: NodeJS.ProcessEnv;
}

/** Starts an empty Redis on loopback: the one that is installed, or Debian's package, unpacked into the cache. */
export async function startRedis(stage: Stage): Promise<Redis> {
  const { command, env } = await findRedis(stage);
  const { stdout } = await stage.run(command, ["--version"], { env });
  const port = await findFreePort();
  const server = stage.start(
    command,
    ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--dir", stage.directory()],
    { env },
  );
  await until("Redis is ready", () => isReady(server));
  return {
    version: /v=(\S+)/.exec(stdout)?.[1] ?? "",
    url: `redis://127.0.0.1:${port}/0`,
    stop: () => server.stop(),
  };
}

function isReady(server: Running): true | undefined {
  if (!server.isRunning()) {
    throw new Error(`Redis has ended: ${server.output()}`);
  }
  return server.output().includes("Ready to accept connections") ? true : undefined;
}

async function findRedis(stage: Stage): Promise<Program> {
  const installed: Program = { command: "redis-server", env: { PATH: process.env.PATH } };
  const { code } = await stage.run(installed.command, ["--version"], { env: installed.env });
  return code === 0 ? installed : unpackRedis(stage);
}

async function unpackRedis(stage: Stage): Promise<Program> {
  const directory = join(cacheDirectory(), "redis");
  const archives = join(directory, "archives");
  const stampFile = join(directory, "taskgate-interop.stamp");
  if (!existsSync(stampFile)) {
    stage.say("        fetching Debian's redis-server");
    mkdirSync(join(archives, "partial"), { recursive: true });
    await download(stage, archives);
    for (const archive of globSync(join(archives, "*.deb"))) {
      const unpacked = await stage.run("dpkg-deb", ["-x", archive, join(directory, "root")]);
      if (unpacked.code !== 0) {
        throw new Skip(`dpkg-deb: ${lastLine(unpacked.stderr)}`);
      }
    }
    writeFileSync(stampFile, "");
  }
  const libraries = globSync(join(directory, "root/usr/lib/*-linux-*"));
  return {
    command: join(directory, "root/usr/bin/redis-server"),
    env: { PATH: process.env.PATH, LD_LIBRARY_PATH: libraries.join(":") },
  };
}

// Fetches the package and what it needs that is not installed; installs nothing.
async function download(stage: Stage, archives: string): Promise<void> {
  const options = ["-o", `Dir::Cache::archives=${archives}`, "-o", "Debug::NoLocking=1"];
  const install = ["install", "--download-only", "--yes", "--no-install-recommends", ...options];
  const first = await stage.run("apt-get", [...install, "redis-server"], { timeoutMs: 120_000 });
  if (first.code === 0) {
    return;
  }
  if (first.code === "not started") {
    throw new Skip("there is no redis-server, and no apt-get to fetch it with");
  }
  // A new machine may have no lists of packages yet.
  await stage.run("apt-get", ["update"], { timeoutMs: 300_000 });
  const second = await stage.run("apt-get", [...install, "redis-server"], { timeoutMs: 120_000 });
  if (second.code !== 0) {
    throw new Skip(`there is no redis-server, and apt-get does not fetch it: ${lastLine(second.stderr)}`);
  }
}
