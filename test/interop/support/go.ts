import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { lastLine } from "./last-line.ts";
import { cacheDirectory, Skip, type Stage } from "./stage.ts";

/** A command that Go builds from a published module. */
export interface GoTool {
  module: string;
  /** With the `v`. */
  version: string;
  /** Below the module; empty: the module itself. */
  command: string;
}

const candidates = ["go", "/usr/local/go/bin/go"];
const buildMs = 8 * 60_000;

/** Builds a tool, or takes the one of an earlier run. Resolves with the path of its binary. */
export async function buildGoTool(stage: Stage, { module, version, command }: GoTool): Promise<string> {
  const path = command === "" ? module : `${module}/${command}`;
  const name = path.slice(path.lastIndexOf("/") + 1);
  const binary = join(cacheDirectory(), "go", `${name}-${version}`);
  const go = await findGo(stage);
  if (!existsSync(binary)) {
    stage.say(
      `        building ${path} ${version} with ${await goVersion(stage, go)}; this may take minutes`,
    );
    // In a module of its own: `go install` also asks for the list of all versions, which not every proxy gives.
    const directory = stage.directory();
    const requirement = `module taskgate-interop\n\ngo 1.25.0\n\nrequire ${module} ${version}\n`;
    writeFileSync(join(directory, "go.mod"), requirement);
    const { code, stderr } = await stage.run(go, ["build", "-mod=mod", "-o", binary, path], {
      cwd: directory,
      env: { ...process.env, CGO_ENABLED: "0" },
      timeoutMs: buildMs,
    });
    if (code !== 0) {
      throw new Skip(`${path} ${version} cannot be built: ${lastLine(stderr)}`);
    }
  }
  return binary;
}

/** Where the sources of a module are. */
export async function goModuleDirectory(stage: Stage, { module, version }: GoTool): Promise<string> {
  const { stdout } = await stage.run(
    await findGo(stage),
    ["mod", "download", "-json", `${module}@${version}`],
    {
      timeoutMs: buildMs,
    },
  );
  const { Dir: directory, Error: error } = JSON.parse(stdout || "{}") as { Dir?: string; Error?: string };
  if (directory === undefined) {
    throw new Skip(`go mod download ${module}@${version}: ${error ?? "nothing was said"}`);
  }
  return directory;
}

/** What built a binary, and from what: `connectrpc.com/conformance v1.0.7, go1.26.1`. */
export async function goToolVersion(stage: Stage, binary: string): Promise<string> {
  const { stdout } = await stage.run(await findGo(stage), ["version", "-m", binary]);
  const [, module, version] = /^\tmod\t(\S+)\t(\S+)/m.exec(stdout) ?? [];
  return `${module} ${version}, ${/: (go\S+)/.exec(stdout)?.[1]}`;
}

/**
 * The command, or its path where it is not among those of `PATH`.
 *
 * @throws Skip when it is not there
 */
export async function findGo(stage: Stage): Promise<string> {
  for (const go of candidates) {
    if ((await stage.run(go, ["version"])).code === 0) {
      return go;
    }
  }
  throw new Skip("there is no Go: neither `go` nor /usr/local/go/bin/go can be run");
}

async function goVersion(stage: Stage, go: string): Promise<string> {
  return (await stage.run(go, ["env", "GOVERSION"])).stdout.trim();
}
