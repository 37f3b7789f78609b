import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Generates the code again, elsewhere, and names the files that differ. */
export function checkGenerated(): string[] {
  const directory = mkdtempSync(join(tmpdir(), "taskgate-gen-"));
  try {
    const result = spawnSync("buf", ["generate", "--output", directory], { encoding: "utf8" });
    if (result.status !== 0) {
      return [result.error?.message ?? result.stderr];
    }
    const fresh = readTree(join(directory, "gen"));
    const committed = readTree("gen");
    return [...new Set([...fresh.keys(), ...committed.keys()])]
      .filter((file) => fresh.get(file) !== committed.get(file))
      .map((file) => `gen/${file} is not what the contract generates: npm run generate`);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function readTree(directory: string): Map<string, string> {
  const files = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  );
  return new Map(
    files.map((entry) => {
      const path = join(entry.parentPath, entry.name);
      return [path.slice(directory.length + 1), readFileSync(path, "utf8")];
    }),
  );
}
