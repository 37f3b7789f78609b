import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

test("the skeleton loads the packages that `taskgate serve` loads", () => {
  expect(packagesOf("bench/skeleton.ts")).toEqual(
    packagesOf("src/main.ts", "src/cli/serve.ts", "src/gateway.ts"),
  );
});

// What the files import, and the files that they import, all the way.
function packagesOf(...files: string[]): string[] {
  const packages = new Set<string>();
  const seen = new Set(files);
  for (const file of seen) {
    const imports = readFileSync(file, "utf8").matchAll(
      /^(?:import|export) (?!type )(?:[^"';]*from )?"([^"]+)"/gm,
    );
    for (const [, name = ""] of imports) {
      if (name.startsWith(".")) {
        seen.add(join(file, "..", name));
      } else if (!name.startsWith("node:")) {
        packages.add(name);
      }
    }
  }
  return [...packages].sort();
}
