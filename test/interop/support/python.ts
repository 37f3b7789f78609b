import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cacheDirectory, Skip, type Stage } from "./stage.ts";

/** Python's interpreter with the packages of a requirements file. */
export interface Venv {
  python: string;
  /** `3.11.7`. */
  pythonVersion: string;
}

const minMinor = 11;
const candidates = ["python3", "python3.14", "python3.13", "python3.12", "python3.11"];

/** Makes a virtual environment, or takes the one of an earlier run with the same requirements. */
export async function makeVenv(stage: Stage, requirementsFile: string): Promise<Venv> {
  const { command, version } = await findPython(stage);
  const name = requirementsFile.replace(/^.*requirements-|\.txt$/g, "");
  const directory = join(cacheDirectory(), `venv-${name}`);
  const python = join(directory, "bin", "python");
  const stampFile = join(directory, "taskgate-interop.stamp");
  const stamp = createHash("sha256").update(version).update(readFileSync(requirementsFile)).digest("hex");
  if (existsSync(stampFile) && readFileSync(stampFile, "utf8") === stamp) {
    return { python, pythonVersion: version };
  }
  stage.say(`        installing ${name} with Python ${version}; this may take minutes`);
  const made = await stage.run(command, ["-m", "venv", "--clear", directory], { timeoutMs: 120_000 });
  if (made.code !== 0) {
    throw new Skip(`python -m venv: ${lastLine(made.stderr)}`);
  }
  const pip = ["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"];
  const installed = await stage.run(python, [...pip, "--requirement", requirementsFile], {
    timeoutMs: 600_000,
  });
  if (installed.code !== 0) {
    throw new Skip(`pip install: ${lastLine(installed.stderr)}`);
  }
  writeFileSync(stampFile, stamp);
  return { python, pythonVersion: version };
}

async function findPython(stage: Stage): Promise<{ command: string; version: string }> {
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
  throw new Skip(`there is no Python 3.${minMinor} or newer`);
}

/** What pip has installed, `name` to `version`. */
export async function installedVersion(stage: Stage, venv: Venv, distribution: string): Promise<string> {
  const code = "import sys, importlib.metadata as m; print(m.version(sys.argv[1]))";
  const { stdout } = await stage.run(venv.python, ["-c", code, distribution]);
  return stdout.trim();
}

function lastLine(text: string): string {
  return text.trimEnd().split("\n").at(-1) ?? "";
}
