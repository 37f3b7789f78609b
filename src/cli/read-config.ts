import { type ParseArgsOptionsConfig, parseArgs } from "node:util";
import type { Config } from "../config/config.ts";
import { parseConfig } from "../config/parse-config.ts";
import { flagOf, type SettingName, settings } from "../config/settings.ts";
import type { CliContext } from "./cli-context.ts";

/** What a command takes beside the settings. */
export interface CommandLineOptions {
  /** Settings that nobody may change. Default: none. */
  fixed?: Partial<Record<SettingName, string>>;
  /** Flags of the command's own. Default: none. */
  flags?: readonly string[];
  /** Words that are no flags. Default: they are refused. */
  allowPositionals?: boolean;
}

/** A command line that has been read. */
export interface CommandLine {
  config: Config;
  /** The command's own flags, those that were given. */
  flags: Readonly<Record<string, string | undefined>>;
  positionals: readonly string[];
}

/**
 * Reads the settings from flags and variables, and what belongs to the command.
 * Prints every problem and returns undefined when there is one.
 */
export function readCommandLine(
  context: CliContext,
  { fixed = {}, flags: ownFlags = [], allowPositionals = false }: CommandLineOptions = {},
): CommandLine | undefined {
  const names = (Object.keys(settings) as SettingName[]).map(flagOf);
  const options: ParseArgsOptionsConfig = Object.fromEntries(
    [...names, ...ownFlags].map((name) => [name, { type: "string" }]),
  );
  let flags: CommandLine["flags"];
  let positionals: readonly string[];
  try {
    const parsed = parseArgs({ args: [...context.args], options, strict: true, allowPositionals });
    flags = parsed.values as CommandLine["flags"];
    positionals = parsed.positionals;
  } catch (error) {
    context.printError(`taskgate: ${error instanceof Error ? error.message : "wrong arguments"}\n`);
    return undefined;
  }
  const result = parseConfig({ fixed, env: context.env, flags, readFile: context.readFile });
  if ("config" in result) {
    return { config: result.config, flags, positionals };
  }
  for (const problem of result.problems) {
    context.printError(`taskgate: ${problem}\n`);
  }
  return undefined;
}

/** Reads the settings from flags and variables, but for what is fixed, as `readCommandLine` does. */
export function readConfig(
  context: CliContext,
  fixed: Partial<Record<SettingName, string>> = {},
): Config | undefined {
  return readCommandLine(context, { fixed })?.config;
}
