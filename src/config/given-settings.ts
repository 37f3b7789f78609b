import type { ConfigFile, FileNode } from "./config-file.ts";
import { envName, flagName, keyName, type SettingTable } from "./setting.ts";

/** Where settings come from: what is fixed wins over a flag, that over a variable, and that over the file. */
export interface SettingSources<Name extends string> {
  /** Values that nobody may change. */
  fixed?: Partial<Record<Name, string>>;
  env: Readonly<Record<string, string | undefined>>;
  /** By flag name, without dashes. */
  flags: Readonly<Record<string, string | undefined>>;
  /** `taskgate.yaml`. Default: there is none. */
  file?: ConfigFile | undefined;
  /** Reads a file as text; throws when it cannot. */
  readFile: (path: string) => string;
}

/** A value as it was given. */
export interface Given {
  readonly text: string;
  /** Its items, where it was given as a list. */
  readonly items?: readonly string[];
  /** The spelling that gave it, with its place: how a sentence about it begins. */
  readonly where: string;
  /** Of a secret that a file holds: the file. */
  readonly path?: string;
}

/** Values as they were given, by their settings' names. Each is looked for once, and what is wrong is told once. */
export interface GivenSettings<Name extends string> {
  /** The value or the default; undefined: neither. Of a secret that a file holds, what it holds, without white space around it. */
  find(name: Name): Given | undefined;
  /** The content of a file that a value names; undefined: it cannot be read, which is told. */
  read(value: Given): string | undefined;
}

/** Looks through the sources. Pure but for `readFile`. */
export function createGivenSettings<Table extends SettingTable>(
  table: Table,
  sources: SettingSources<keyof Table & string>,
  problems: string[],
): GivenSettings<keyof Table & string> {
  type Name = keyof Table & string;
  const found = new Map<Name, Given | undefined>();

  function byFlag(flag: string): Given | undefined {
    const text = sources.flags[flag];
    return text === undefined ? undefined : { text, where: `--${flag}` };
  }
  function byVariable(env: string): Given | undefined {
    const text = sources.env[env];
    // An empty variable is the same as none.
    return text === undefined || text === "" ? undefined : { text, where: env };
  }
  function byFile(key: string): Given | undefined {
    const node = sources.file?.entries.get(key);
    return node && givenBy(node, `${sources.file?.path}:${node.line}: ${key}`, problems);
  }
  function look(name: Name): Given | undefined {
    const row = table[name] as Table[Name];
    const env = envName(name, row);
    const flag = flagName(name, row);
    const key = keyName(name, row);
    const fixed = sources.fixed?.[name];
    if (fixed !== undefined) {
      return { text: fixed, where: env };
    }
    if (row.kind !== "secret") {
      const byDefault = row.default === undefined ? undefined : { text: row.default, where: env };
      return byFlag(flag) ?? byVariable(env) ?? byFile(key) ?? byDefault;
    }
    const file = byFlag(flag) ?? byVariable(`${env}_FILE`);
    const value = file === undefined ? byVariable(env) : undefined;
    return value ?? secretIn(file ?? byFile(key));
  }
  function secretIn(file: Given | undefined): Given | undefined {
    const text = file && read(file)?.trim();
    return file && text !== undefined ? { text, where: file.where, path: file.text } : undefined;
  }
  function read({ text, where }: Given): string | undefined {
    try {
      return sources.readFile(text);
    } catch (error) {
      problems.push(`${where} cannot be read: ${error instanceof Error ? error.message : "unknown error"}`);
      return undefined;
    }
  }

  return {
    find(name) {
      if (!found.has(name)) {
        found.set(name, look(name));
      }
      return found.get(name);
    },
    read,
  };
}

// Nothing behind a key is the same as no key, as with an empty variable.
function givenBy(node: FileNode, where: string, problems: string[]): Given | undefined {
  if (node.kind === "text") {
    return node.text === "" ? undefined : { text: node.text, where };
  }
  const items = node.kind === "list" ? node.items.map(textOf) : [undefined];
  if (items.includes(undefined)) {
    problems.push(`${where} must be a value, or a list of values`);
    return undefined;
  }
  return { text: items.join(","), items: items.filter((item) => item !== undefined), where };
}

function textOf(node: FileNode): string | undefined {
  return node.kind === "text" ? node.text : undefined;
}
