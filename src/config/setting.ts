/**
 * One setting: one name in three spellings, `leaseDuration` in `taskgate.yaml`,
 * `TASKGATE_LEASE_DURATION` in the environment and the flag `--lease-duration`.
 */
export interface Setting {
  /** What it takes, and how it is read. */
  readonly kind: SettingKind;
  /** What it means, for `taskgate help` and the reference: part of a sentence, without its kind and default. */
  readonly doc: string;
  /** As it would be written. Undefined: none. */
  readonly default?: string;
  /** The variable, where it is not the name in capitals behind `TASKGATE_`. */
  readonly env?: string;
}

/** A table of settings by their names, in the order in which they are documented. */
export type SettingTable = Readonly<Record<string, Setting>>;

/** What a setting takes, by kind, for the reference. */
export const kinds = {
  text: "text",
  address: "`host:port`, `[ipv6]:port`, `:port` or `unix:PATH`",
  tcpAddress: "`host:port`, or `off`",
  url: "an http or https URL without credentials, query or fragment",
  urls: "such URLs, as a list or with commas between",
  webhookUrl: "an http or https URL without credentials or fragment",
  list: "texts, as a list or with commas between",
  duration: "a duration: `250ms`, `30s`, `1.5m`, `2h`",
  bytes: "a size: `65536`, `64KiB`, `4MiB`, `1GiB`",
  count: "a number from 1",
  boolean: "`true` or `false`",
  path: "a path",
  file: "the path of a file",
  /**
   * It has no flag of its own, because arguments can be read by others, and no place
   * in `taskgate.yaml`, because files like that are copied and committed. It is the
   * variable's value, or is in a file that the variable and flag with `FILE` behind
   * their name, or the key with `File`, say.
   */
  secret: "a secret, in a file or a variable",
} as const;

export type SettingKind = keyof typeof kinds;

/** The names in a table whose settings are of a kind. */
export type NamesOf<Table extends SettingTable, Kind extends SettingKind> = {
  [Name in keyof Table & string]: Table[Name]["kind"] extends Kind ? Name : never;
}[keyof Table & string];

/** The variable of a setting; of a secret, the one with its value. */
export function envName(name: string, setting: Setting): string {
  return setting.env ?? `TASKGATE_${snake(name).toUpperCase()}`;
}

/** All variables of a setting. */
export function envNames(name: string, setting: Setting): readonly string[] {
  const env = envName(name, setting);
  return setting.kind === "secret" ? [`${env}_FILE`, env] : [env];
}

/** The flag of a setting, without its dashes; of a secret, the flag for its file. */
export function flagName(name: string, setting: Setting): string {
  return snake(keyName(name, setting)).replaceAll("_", "-");
}

/** The key of a setting in `taskgate.yaml`; of a secret, the key for its file. */
export function keyName(name: string, setting: Setting): string {
  return setting.kind === "secret" ? `${name}File` : name;
}

function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
