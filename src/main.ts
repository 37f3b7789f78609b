import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runCommand } from "./cli/run-command.ts";

/** The entry: the one place that knows the process it runs in. */
process.exitCode = await runCommand({
  args: process.argv.slice(2),
  env: process.env,
  readFile: (path) => readFileSync(path, "utf8"),
  print: (text) => process.stdout.write(text),
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
  exit: (code) => process.exit(code),
});
