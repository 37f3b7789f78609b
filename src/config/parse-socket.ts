import type { SocketAccess } from "../model/listen-address.ts";
import type { SettingReader } from "./setting-reader.ts";
import type { settings } from "./settings.ts";

/** Reads who may connect to a Unix socket. A group's name is looked for in `/etc/group`. */
export function parseSocketAccess(
  read: SettingReader<typeof settings>,
  readFile: (path: string) => string,
  problems: string[],
): SocketAccess {
  const modeText = read.text("socketMode") ?? "";
  const mode = Number.parseInt(modeText, 8);
  if (!/^0?[0-7]{3}$/.test(modeText) || (mode & 0o600) !== 0o600) {
    problems.push(`${read.where("socketMode")} must be permissions such as 0660, with 6 or 7 for the owner`);
  }
  const group = read.text("socketGroup");
  if (group === undefined) {
    return { mode, gid: undefined };
  }
  const gid = /^\d{1,9}$/.test(group) ? Number(group) : gidOf(group, readFile);
  if (gid === undefined) {
    problems.push(`${read.where("socketGroup")} must be a group's number, or a name that /etc/group has`);
  }
  return { mode, gid };
}

function gidOf(name: string, readFile: (path: string) => string): number | undefined {
  let groups: string;
  try {
    groups = readFile("/etc/group");
  } catch {
    return undefined;
  }
  const [, , gid] =
    groups
      .split("\n")
      .map((line) => line.split(":"))
      .find(([group]) => group === name) ?? [];
  return gid === undefined || gid === "" ? undefined : Number(gid);
}
