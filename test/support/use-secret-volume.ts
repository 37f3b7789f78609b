import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { useDirectory } from "./use-directory.ts";

/** A directory of files as Kubernetes mounts a secret: links to files below a link that is swapped. */
export interface SecretVolume {
  pathOf(name: string): string;
  /** Replaces all files at once. */
  swap(files: Readonly<Record<string, string>>): void;
}

/** Mounts a secret for the running test. */
export function useSecretVolume(files: Readonly<Record<string, string>>): SecretVolume {
  const directory = useDirectory();
  let version = 0;
  function write(next: Readonly<Record<string, string>>): string {
    version += 1;
    const name = `..version_${version}`;
    mkdirSync(join(directory, name));
    for (const [file, content] of Object.entries(next)) {
      writeFileSync(join(directory, name, file), content, { mode: 0o600 });
    }
    return name;
  }
  symlinkSync(write(files), join(directory, "..data"));
  for (const file of Object.keys(files)) {
    symlinkSync(join("..data", file), join(directory, file));
  }
  return {
    pathOf: (name) => join(directory, name),
    swap(next) {
      const before = `..version_${version}`;
      symlinkSync(write(next), join(directory, "..data_tmp"));
      renameSync(join(directory, "..data_tmp"), join(directory, "..data"));
      rmSync(join(directory, before), { recursive: true });
    },
  };
}
