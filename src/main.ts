import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runCommand } from "./cli/run-command.ts";

// What Node writes of a crash, where it is told to, holds all variables but for this.
process.report.excludeEnv = true;

/** The entry: the one place that knows the process it runs in. */
const exitCode = await runCommand({
  args: process.argv.slice(2),
  env: process.env,
  readFile: (path) => readFileSync(path, "utf8"),
  writeFile: (path, text) => writeFileSync(path, text),
  print: (text) => process.stdout.write(text),
  isTerminal: process.stderr.isTTY === true,
  printError: (text) => process.stderr.write(text),
  onSignal(listener, signals = ["SIGTERM", "SIGINT"]) {
    for (const signal of signals) {
      process.on(signal, listener);
    }
  },
  makeTemporaryDirectory() {
    const path = mkdtempSync(join(tmpdir(), "taskgate-"));
    return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
  },
  nodeVersion: process.versions.node,
  now: Date.now,
  exit: (code) => process.exit(code),
});

// Some library's request that nobody waits for must not keep alive what has done its work.
for (const stream of [process.stdout, process.stderr]) {
  if (stream.writableLength > 0) {
    await new Promise<void>((resolve) => stream.write("", () => resolve()));
  }
}
process.exit(exitCode);
