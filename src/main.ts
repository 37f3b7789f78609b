import { readFileSync } from "node:fs";
import { runCommand } from "./cli/run-command.ts";

/** The entry: the one place that knows the process it runs in. */
process.exitCode = await runCommand({
  args: process.argv.slice(2),
  env: process.env,
  readFile: (path) => readFileSync(path, "utf8"),
  print: (text) => process.stdout.write(text),
  printError: (text) => process.stderr.write(text),
  onSignal(listener) {
    process.on("SIGTERM", listener);
    process.on("SIGINT", listener);
  },
  exit: (code) => process.exit(code),
});
