import { type ParseArgsOptionsConfig, parseArgs } from "node:util";
import { suggestion } from "../config/closest-name.ts";

/** What a command line says. */
export interface ReadFlags {
  /** By name, without dashes; the last one counts. */
  readonly flags: Readonly<Record<string, string>>;
  /** Words that are no flags. */
  readonly positionals: readonly string[];
  /** Flags that there are not, and flags without a value, a sentence each. */
  readonly problems: readonly string[];
}

/** Reads `--name value` and `--name=value`, and tells all that is wrong at once. No message quotes a value. */
export function readFlags(args: readonly string[], names: readonly string[]): ReadFlags {
  const options: ParseArgsOptionsConfig = Object.fromEntries(names.map((name) => [name, { type: "string" }]));
  const { tokens, positionals } = parseArgs({
    args: [...args],
    options,
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const known = new Set(names);
  const flags: Record<string, string> = {};
  const problems: string[] = [];
  for (const token of tokens) {
    if (token.kind !== "option") {
      continue;
    }
    const { name, rawName, value, inlineValue } = token;
    if (!known.has(name)) {
      problems.push(`there is no flag ${rawName}${suggestion(name, names, "--")}`);
    } else if (value === undefined || (inlineValue === false && value.startsWith("-"))) {
      problems.push(`${rawName} needs a value`);
    } else {
      flags[name] = value;
    }
  }
  return { flags, positionals, problems };
}
