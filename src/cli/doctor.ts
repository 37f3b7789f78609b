import { secretFiles } from "../config/secret-files.ts";
import type { Finding } from "../doctor/finding.ts";
import { runDoctor } from "../doctor/run-doctor.ts";
import { type CliContext, exitCodes } from "./cli-context.ts";
import { readCommandLine } from "./read-config.ts";

const marks: Record<Finding["kind"], string> = {
  ok: "ok      ",
  warning: "warning ",
  problem: "PROBLEM ",
  unknown: "?       ",
};

/**
 * `taskgate doctor`: looks at the configuration, this machine and each upstream, changes
 * nothing there, and prints what is wrong and what to do. Ends with 0 when the gateway can
 * do its work, warnings or not, else with 1.
 */
export async function runDoctorCommand(context: CliContext): Promise<number> {
  const line = await readCommandLine(context);
  if (line === undefined) {
    context.printError("PROBLEM  configuration: the gateway would not start\n");
    return exitCodes.startFailed;
  }
  context.print("ok       configuration\n");
  const { nodeVersion, now } = context;
  const tokens = line.config.callers.flatMap((caller) => caller.tokens.flatMap(({ path }) => path ?? []));
  const files = [...new Set([...secretFiles(line.sources), ...tokens])];
  const findings = await runDoctor({ config: line.config, secretFiles: files, nodeVersion, now });
  context.print(findings.map(linesOf).join(""));
  const count = (kind: Finding["kind"]) => findings.filter((finding) => finding.kind === kind).length;
  const [problems, warnings] = [count("problem"), count("warning")];
  context.print(`\n${problems} problems, ${warnings} warnings\n`);
  return problems === 0 ? exitCodes.ok : exitCodes.startFailed;
}

function linesOf({ kind, subject, words, advice }: Finding): string {
  const lines = [`${marks[kind]} ${subject}: ${words}`];
  if (advice !== undefined) {
    lines.push(`          → ${advice}`);
  }
  return `${lines.join("\n")}\n`;
}
