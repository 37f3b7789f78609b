import { envOf, flagOf, type Setting, type SettingName, settings } from "../config/settings.ts";

const commands = [
  ["serve", "serves the gateway"],
  ["dev", "serves the gateway with a sandbox of all three upstreams"],
  ["outbox", "shows and moves what is stored: outbox list, retry ID, discard ID"],
  ["version", "prints the version"],
] as const;

/** The text of `taskgate help`: commands, and settings in both spellings. */
export function helpText(): string {
  const lines = ["taskgate COMMAND [--SETTING VALUE ...]", "", "Commands:"];
  for (const [name, doc] of commands) {
    lines.push(`  ${name.padEnd(9)}${doc}`);
  }
  lines.push("", "Settings, as a flag or as a variable; a flag wins:");
  for (const name of Object.keys(settings) as SettingName[]) {
    const setting: Setting = settings[name];
    const byFile = setting.isSecret === true ? " or ..._FILE" : "";
    lines.push(`  --${flagOf(name)}  (${envOf(name)}${byFile})`);
    lines.push(`      ${setting.doc}${setting.default === undefined ? "" : `; default ${setting.default}`}`);
  }
  return `${lines.join("\n")}\n`;
}
