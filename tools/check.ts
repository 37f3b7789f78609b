import { spawnSync } from "node:child_process";
import { checkDocs } from "./check-docs.ts";
import { checkGenerated } from "./check-generated.ts";
import { checkLockFiles } from "./check-lock-files.ts";
import { checkVersion } from "./check-version.ts";

// One step: a command of a tool, or a function that returns what is wrong.
type Step = [name: string, run: string[] | (() => Promise<string[]> | string[])];

const steps: Step[] = [
  ["format and lint", ["biome", "check", "--error-on-warnings", "."]],
  ["types", ["tsc", "-p", "."]],
  ["contract: lint", ["buf", "lint"]],
  ["contract: format", ["buf", "format", "--diff", "--exit-code", "proto"]],
  [
    "contract: nothing is broken since the last release",
    ["buf", "breaking", "proto", "--against", "tools/contract-baseline.binpb"],
  ],
  ["generated code is current", checkGenerated],
  ["documents are current", checkDocs],
  ["no lock file bears a download address", checkLockFiles],
  ["the version is the same everywhere", checkVersion],
];

let failures = 0;
for (const [name, run] of steps) {
  const startMs = performance.now();
  const problems = typeof run === "function" ? await run() : runCommand(run);
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
  console.log(`${problems.length === 0 ? "ok    " : "FAILED"} ${name} (${seconds} s)`);
  for (const problem of problems) {
    console.log(problem);
  }
  failures += problems.length === 0 ? 0 : 1;
}
process.exitCode = failures === 0 ? 0 : 1;

function runCommand([command = "", ...args]: string[]): string[] {
  const result = spawnSync(command, args, { encoding: "utf8" });
  return result.status === 0 ? [] : [result.error?.message ?? `${result.stdout}${result.stderr}`];
}
