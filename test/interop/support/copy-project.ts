import { cpSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { Stage } from "./stage.ts";

const root = new URL("../../../", import.meta.url).pathname;
const isMade = new Set(["node_modules", "gen", "dist", "target"]);

/** A copy of an example, where nothing of this repository's own packages can be found by accident. */
export interface ProjectCopy {
  directory: string;
  /** With this `PATH` its scripts run on the Node that runs this. */
  path: string;
}

/**
 * Copies a directory of the repository to where only `proto/` and `third_party/proto` are as they are here, without
 * what is made in it.
 */
export function copyProject(stage: Stage, directory: string): ProjectCopy {
  const copy = stage.directory();
  for (const each of ["proto", "third_party/proto", directory]) {
    cpSync(join(root, each), join(copy, each), {
      recursive: true,
      filter: (source) => !isMade.has(basename(source)),
    });
  }
  return { directory: join(copy, directory), path: `${dirname(process.execPath)}:${process.env.PATH}` };
}
