import { readFileSync } from "node:fs";
import type { CliContext } from "../../src/cli/cli-context.ts";

/** Runs a command to its end in this process, and tells its code and what it printed. */
export async function runCli(
  command: (context: CliContext) => Promise<number>,
  args: readonly string[],
  env: Record<string, string>,
): Promise<{ stdout: string; stderr: string; code: number }> {
  const said = { stdout: "", stderr: "" };
  const code = await command({
    args,
    env,
    readFile: (path) => readFileSync(path, "utf8"),
    writeFile: () => undefined,
    nodeVersion: process.versions.node,
    now: Date.now,
    print: (text) => {
      said.stdout += text;
    },
    isTerminal: false,
    printError: (text) => {
      said.stderr += text;
    },
    onSignal: () => undefined,
    exit: () => undefined,
    makeTemporaryDirectory: () => ({ path: "", remove: () => undefined }),
  });
  return { ...said, code };
}
