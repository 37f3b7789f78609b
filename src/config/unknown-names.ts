import { suggestion } from "./closest-name.ts";
import type { ConfigFile } from "./config-file.ts";
import { envName, envNames, keyName, type SettingTable } from "./setting.ts";

/** Names the keys of a file that are no settings, nor one of the other keys. */
export function unknownKeys(file: ConfigFile, table: SettingTable, others: readonly string[]): string[] {
  const known = [...Object.entries(table).map(([name, setting]) => keyName(name, setting)), ...others];
  return Array.from(file.entries, ([key, { line }]) => {
    const where = `${file.path}:${line}`;
    const setting = table[key];
    if (setting?.kind === "secret") {
      return `${where}: ${key} is a secret, which is not written here: name its file with ${keyName(key, setting)}`;
    }
    return known.includes(key) ? "" : `${where}: there is no setting ${cut(key)}${suggestion(key, known)}`;
  }).filter((problem) => problem !== "");
}

/** Names the variables that look like settings and are none of the tables'. */
export function unknownVariables(
  env: Readonly<Record<string, string | undefined>>,
  tables: readonly SettingTable[],
): string[] {
  const settings = tables.flatMap((table) => Object.entries(table));
  const known = new Set([
    ...settings.flatMap(([name, setting]) => envNames(name, setting)),
    // What `taskgate run` says to its command, which may be another taskgate.
    "TASKGATE_OUTPUT",
    // What the clients in examples/ read, perhaps in the same shell.
    "TASKGATE_ADDRESS",
  ]);
  const wanted = settings.map(([name, setting]) => envName(name, setting));
  return Object.entries(env)
    .filter(([name, value]) => name.startsWith("TASKGATE_") && value !== undefined && value !== "")
    .filter(([name, value]) => !known.has(name) && !isServiceLink(name, value))
    .map(([name]) => `there is no setting ${cut(name)}${suggestion(name, wanted)}`);
}

// Kubernetes tells every container of the services in its namespace, and one of them
// may be called taskgate.
function isServiceLink(name: string, value = ""): boolean {
  return (
    /_SERVICE_(HOST|PORT(_\w+)?)$/.test(name) ||
    /_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$/.test(name) ||
    (name.endsWith("_PORT") && /^(tcp|udp|sctp):\/\//.test(value))
  );
}

function cut(name: string): string {
  return name.length > 60 ? `${name.slice(0, 60)}...` : name;
}
