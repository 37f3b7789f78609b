import { runOptions } from "../config/run-settings.ts";
import { envName, flagName, type SettingTable } from "../config/setting.ts";
import { configOptions, settingGroups } from "../config/settings.ts";

const commands = [
  ["serve", "serves the gateway"],
  ["dev", "serves the gateway with a sandbox of all three upstreams"],
  ["run", "runs a command and reports it: run [--SETTING VALUE ...] -- COMMAND [ARGS]"],
  ["doctor", "says what is wrong with settings, machine and upstreams, and changes nothing there"],
  [
    "health",
    "asks the gateway on this machine how it is: health [--probe startup|live|ready] or [--service NAME]",
  ],
  ["outbox", "shows and moves what is stored: outbox list, retry ID, discard ID"],
  ["version", "prints the version"],
] as const;

/** The text of `taskgate help`: commands, and settings in both spellings. */
export function helpText(): string {
  const lines = ["taskgate COMMAND [--SETTING VALUE ...]", "", "Commands:"];
  for (const [name, doc] of commands) {
    lines.push(`  ${name.padEnd(9)}${doc}`);
  }
  lines.push("", "Settings, as a flag, a variable or a key in taskgate.yaml; the first wins:");
  lines.push(...settingLines(configOptions));
  for (const { title, settings } of settingGroups) {
    lines.push("", `${title}:`, ...settingLines(settings));
  }
  lines.push("", "Callers with names, roles and tokens of their own stand below callers in taskgate.yaml.");
  lines.push("", "Settings of run:", ...settingLines(runOptions));
  return `${lines.join("\n")}\n`;
}

function settingLines(table: SettingTable): string[] {
  return Object.entries(table).flatMap(([name, setting]) => {
    const env = envName(name, setting);
    const byFile = setting.kind === "secret" ? " or ..._FILE" : "";
    const byDefault = setting.default === undefined ? "" : `; default ${setting.default}`;
    return [`  --${flagName(name, setting)}  (${env}${byFile})`, `      ${setting.doc}${byDefault}`];
  });
}
