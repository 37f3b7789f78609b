import { Skip, type Stage } from "./stage.ts";

/**
 * The version that a tool tells of itself, as `pattern` finds it.
 *
 * @throws Skip when the tool is not there
 */
export async function toolVersion(
  stage: Stage,
  command: string,
  args: readonly string[],
  pattern = /\d+(\.\d+)+/,
): Promise<string> {
  const { code, stdout, stderr } = await stage.run(command, args);
  const version = `${stdout}${stderr}`.match(pattern)?.[0];
  if (code !== 0 || version === undefined) {
    throw new Skip(`there is no ${command}`);
  }
  return version;
}

/** @throws Skip when the version of a tool is below the one that is needed: `requireVersion("Maven", "3.6.3", "3.8")` */
export function requireVersion(tool: string, version: string, needed: string): void {
  if (version.localeCompare(needed, "en", { numeric: true }) < 0) {
    throw new Skip(`there is ${tool} ${version}, and ${needed} is needed`);
  }
}
