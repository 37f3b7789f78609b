import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { installDebianPackages } from "./debian.ts";
import { lastLine } from "./last-line.ts";
import { cacheDirectory, Skip, type Stage } from "./stage.ts";

/** Python's interpreter with the packages of a requirements file. */
export interface Venv {
  python: string;
  /** `3.11.7`. */
  pythonVersion: string;
}

const pipInstall = ["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"];
const minMinor = 11;
const candidates = ["python3", "python3.14", "python3.13", "python3.12", "python3.11"];

/** Makes a virtual environment, or takes the one of an earlier run with the same requirements. */
export async function makeVenv(
  stage: Stage,
  requirementsFile: string,
  name = requirementsFile.replace(/^.*requirements-|\.txt$/g, ""),
): Promise<Venv> {
  const { command, version } = await findPython(stage);
  const directory = join(cacheDirectory(), `venv-${name}`);
  const python = join(directory, "bin", "python");
  const stampFile = join(directory, "taskgate-interop.stamp");
  const stamp = createHash("sha256").update(version).update(readFileSync(requirementsFile)).digest("hex");
  if (existsSync(stampFile) && readFileSync(stampFile, "utf8") === stamp) {
    return { python, pythonVersion: version };
  }
  stage.say(`        installing ${name} with Python ${version}; this may take minutes`);
  const makeIt = () => stage.run(command, ["-m", "venv", "--clear", directory], { timeoutMs: 120_000 });
  let made = await makeIt();
  // Debian's Python comes without it.
  if (made.code !== 0 && (await installDebianPackages(stage, "python3-venv"))) {
    made = await makeIt();
  }
  if (made.code !== 0) {
    throw new Skip(`python -m venv: ${lastLine(made.stderr || made.stdout)}`);
  }
  const installed = await stage.run(python, [...pipInstall, "--requirement", requirementsFile], {
    timeoutMs: 600_000,
  });
  if (installed.code !== 0) {
    throw new Skip(`pip install: ${lastLine(installed.stderr)}`);
  }
  writeFileSync(stampFile, stamp);
  return { python, pythonVersion: version };
}

/**
 * Installs one version of a package beside the packages of the environment, which
 * must hold all that it needs. Returns the folder for PYTHONPATH.
 */
export async function installPackage(
  stage: Stage,
  venv: Venv,
  distribution: string,
  version: string,
): Promise<string> {
  const directory = join(cacheDirectory(), `${distribution}-${version}`);
  const stampFile = join(directory, "taskgate-interop.stamp");
  if (!existsSync(stampFile)) {
    const target = ["--upgrade", "--target", directory];
    const installed = await stage.run(
      venv.python,
      [...pipInstall, "--no-deps", ...target, `${distribution}==${version}`],
      { timeoutMs: 120_000 },
    );
    if (installed.code !== 0) {
      throw new Skip(`pip install ${distribution}==${version}: ${lastLine(installed.stderr)}`);
    }
    writeFileSync(stampFile, "");
  }
  return directory;
}

/** All versions that are published, also those before a release; none when nobody tells. */
export async function publishedVersions(stage: Stage, venv: Venv, distribution: string): Promise<string[]> {
  const index = ["-m", "pip", "index", "versions", "--pre", "--disable-pip-version-check", distribution];
  const { stdout } = await stage.run(venv.python, index);
  const [, versions = ""] = /^Available versions: (.*)$/m.exec(stdout) ?? [];
  return versions === "" ? [] : versions.split(", ");
}

interface Python {
  command: string;
  version: string;
}

async function findPython(stage: Stage): Promise<Python> {
  const found = await lookForPython(stage);
  if (found !== undefined) {
    return found;
  }
  const installed = await installDebianPackages(stage, "python3", "python3-venv");
  const python = installed ? await lookForPython(stage) : undefined;
  if (python === undefined) {
    throw new Skip(`there is no Python 3.${minMinor} or newer`);
  }
  return python;
}

async function lookForPython(stage: Stage): Promise<Python | undefined> {
  for (const command of candidates) {
    const { code, stdout } = await stage.run(command, [
      "-c",
      "import platform; print(platform.python_version())",
    ]);
    const version = stdout.trim();
    const [major = 0, minor = 0] = version.split(".").map(Number);
    if (code === 0 && major === 3 && minor >= minMinor) {
      return { command, version };
    }
  }
  return undefined;
}

/** What pip has installed, `name` to `version`. */
export async function installedVersion(stage: Stage, venv: Venv, distribution: string): Promise<string> {
  const code = "import sys, importlib.metadata as m; print(m.version(sys.argv[1]))";
  const { stdout } = await stage.run(venv.python, ["-c", code, distribution]);
  return stdout.trim();
}
