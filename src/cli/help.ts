import { runOptions } from "../config/run-settings.ts";
import { type Setting, settingEnv, settingFlag, settings } from "../config/settings.ts";

const commands = [
  ["serve", "serves the gateway"],
  ["dev", "serves the gateway with a sandbox of all three upstreams"],
  ["run", "runs a command and reports it: run [--SETTING VALUE ...] -- COMMAND [ARGS]"],
  ["outbox", "shows and moves what is stored: outbox list, retry ID, discard ID"],
  ["version", "prints the version"],
] as const;

/** The text of `taskgate help`: commands, and settings in both spellings. */
export function helpText(): string {
  const lines = ["taskgate COMMAND [--SETTING VALUE ...]", "", "Commands:"];
  for (const [name, doc] of commands) {
    lines.push(`  ${name.padEnd(9)}${doc}`);
  }
  lines.push("", "Settings, as a flag or as a variable; a flag wins:", ...settingLines(settings));
  lines.push("", "Settings of run:", ...settingLines(runOptions));
  return `${lines.join("\n")}\n`;
}

function settingLines(table: Readonly<Record<string, Setting>>): string[] {
  return Object.entries(table).flatMap(([name, setting]) => {
    const env = settingEnv(name, setting);
    const byFile = setting.isSecret === true ? " or ..._FILE" : "";
    const byDefault = setting.default === undefined ? "" : `; default ${setting.default}`;
    return [`  --${settingFlag(name, setting)}  (${env}${byFile})`, `      ${setting.doc}${byDefault}`];
  });
}
