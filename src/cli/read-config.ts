import { parseArgs } from "node:util";
import type { Config } from "../config/config.ts";
import { parseConfig } from "../config/parse-config.ts";
import { flagOf, type SettingName, settings } from "../config/settings.ts";
import type { CliContext } from "./cli-context.ts";

/**
 * Reads the configuration from flags and variables, but for what is fixed. Prints
 * every problem and returns undefined when there is one.
 */
export function readConfig(
  context: CliContext,
  fixed: Partial<Record<SettingName, string>> = {},
): Config | undefined {
  const names = Object.keys(settings) as SettingName[];
  let flags: Readonly<Record<string, string | undefined>>;
  try {
    const { values } = parseArgs({
      args: [...context.args],
      options: Object.fromEntries(names.map((name) => [flagOf(name), { type: "string" as const }])),
      strict: true,
      allowPositionals: false,
    });
    flags = values as Record<string, string | undefined>;
  } catch (error) {
    context.printError(`taskgate: ${error instanceof Error ? error.message : "wrong arguments"}\n`);
    return undefined;
  }
  const result = parseConfig({ fixed, env: context.env, flags, readFile: context.readFile });
  if ("config" in result) {
    return result.config;
  }
  for (const problem of result.problems) {
    context.printError(`taskgate: ${problem}\n`);
  }
  return undefined;
}
