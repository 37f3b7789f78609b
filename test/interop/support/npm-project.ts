import { readFileSync } from "node:fs";
import { join } from "node:path";
import { copyProject, type ProjectCopy } from "./copy-project.ts";
import { Skip, type Stage } from "./stage.ts";

/**
 * Installs what an npm project names, and builds it.
 *
 * @throws Skip when its packages are not to be had
 */
export async function buildNpmProject(
  stage: Stage,
  directory: string,
  scripts: readonly string[] = ["build"],
): Promise<ProjectCopy> {
  const copy = copyProject(stage, directory);
  const options = { cwd: copy.directory, env: { ...process.env, PATH: copy.path }, timeoutMs: 300_000 };
  const installed = await stage.run("npm", ["ci", "--prefer-offline", "--no-audit", "--no-fund"], options);
  if (installed.code !== 0) {
    throw new Skip(`npm ci in ${directory}: ${installed.stderr.trim().split("\n")[0]}`);
  }
  for (const script of scripts) {
    const built = await stage.run("npm", ["run", script], options);
    if (built.code !== 0) {
      throw new Error(`npm run ${script} in ${directory}: ${built.stdout}${built.stderr}`);
    }
  }
  return copy;
}

/** The versions of the packages that were installed. */
export function packageVersions(
  { directory }: ProjectCopy,
  names: readonly string[],
): Record<string, string> {
  return Object.fromEntries(
    names.map((name) => {
      const { version } = JSON.parse(
        readFileSync(join(directory, "node_modules", name, "package.json"), "utf8"),
      ) as { version: string };
      return [name, version];
    }),
  );
}
