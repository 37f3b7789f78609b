import { version } from "../version.ts";
import { type CliContext, exitCodes } from "./cli-context.ts";

/**
 * Runs the command that the arguments name, and returns the exit code. Each command
 * is loaded when it is wanted, so that none waits for what another needs.
 */
export async function runCommand(context: CliContext): Promise<number> {
  const [command, ...args] = context.args;
  // What follows is another command's.
  const own = args.includes("--") ? args.slice(0, args.indexOf("--")) : args;
  if (own.includes("--help") || own.includes("-h")) {
    context.print((await import("./help.ts")).helpText());
    return exitCodes.ok;
  }
  switch (command) {
    case "serve":
      return (await import("./serve.ts")).runServe({ ...context, args });
    case "dev":
      return (await import("./dev.ts")).runDev({ ...context, args });
    case "run":
      return (await import("./run.ts")).runRun({ ...context, args });
    case "doctor":
      return (await import("./doctor.ts")).runDoctorCommand({ ...context, args });
    case "health":
      return (await import("./health.ts")).runHealth({ ...context, args });
    case "outbox":
      return (await import("./outbox.ts")).runOutbox({ ...context, args });
    case "version":
    case "--version":
      context.print(`taskgate ${version}\n`);
      return exitCodes.ok;
    case "help":
    case "--help":
    case "-h":
      context.print((await import("./help.ts")).helpText());
      return exitCodes.ok;
    default:
      context.printError(
        command === undefined
          ? (await import("./help.ts")).helpText()
          : `taskgate: there is no command ${command}\n`,
      );
      return exitCodes.usage;
  }
}
