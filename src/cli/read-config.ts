import type { Config } from "../config/config.ts";
import type { ConfigFile } from "../config/config-file.ts";
import { type ConfigSources, parseConfig } from "../config/parse-config.ts";
import { flagName } from "../config/setting.ts";
import { configOptions, type SettingName, settings } from "../config/settings.ts";
import { messageOf } from "../model/error-message.ts";
import type { CliContext } from "./cli-context.ts";
import { readFlags } from "./read-flags.ts";

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
  /** Where the settings came from. */
  sources: ConfigSources;
}

const flagNames = Object.entries({ ...configOptions, ...settings }).map(([name, setting]) =>
  flagName(name, setting),
);

/**
 * Reads the settings from flags, variables and `taskgate.yaml`, and what belongs to
 * the command. Prints every problem and returns undefined when there is one.
 */
export async function readCommandLine(
  context: CliContext,
  { fixed = {}, flags: ownFlags = [], allowPositionals = false }: CommandLineOptions = {},
): Promise<CommandLine | undefined> {
  const line = readFlags(context.args, [...flagNames, ...ownFlags]);
  const { flags, positionals } = line;
  const problems = [...line.problems];
  if (problems.length === 0 && positionals.length > 0 && !allowPositionals) {
    problems.push(`${positionals[0]} is not expected here`);
  }
  const file = await readConfigFile(context, flags.config);
  const { env, readFile } = context;
  const sources: ConfigSources = { fixed, env, flags, file, readFile };
  const result = parseConfig(sources);
  problems.push(...("problems" in result ? result.problems : []));
  for (const problem of problems) {
    context.printError(`taskgate: ${problem}\n`);
  }
  return "config" in result && problems.length === 0
    ? { config: result.config, flags, positionals, sources }
    : undefined;
}

/** Reads the settings, but for what is fixed, as `readCommandLine` does. */
export async function readConfig(
  context: CliContext,
  fixed: Partial<Record<SettingName, string>> = {},
): Promise<Config | undefined> {
  return (await readCommandLine(context, { fixed }))?.config;
}

// The one that is named must be there; the usual one need not.
async function readConfigFile(
  { env, readFile }: CliContext,
  flag: string | undefined,
): Promise<ConfigFile | undefined> {
  const variable = env.TASKGATE_CONFIG || undefined;
  const path = flag ?? variable ?? configOptions.config.default;
  let text: string;
  try {
    text = readFile(path);
  } catch (error) {
    const isUsual = flag === undefined && variable === undefined;
    if (isUsual && (error as NodeJS.ErrnoException).code === "ENOENT") {
      return undefined;
    }
    const where = flag === undefined ? (variable === undefined ? path : "TASKGATE_CONFIG") : "--config";
    return { path, entries: new Map(), problems: [`${where} cannot be read: ${messageOf(error)}`] };
  }
  // Who has no such file need not load what reads it.
  const { parseConfigFile } = await import("../config/config-file.ts");
  return parseConfigFile(path, text);
}
