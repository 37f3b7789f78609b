import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { configurationReference, referencePath } from "./configuration-reference.ts";

const idPattern = /\b[OWA]-\d{2}\b/g;

/**
 * Names what the documents promise and the tree does not keep: an id of
 * docs/upstreams.md that no test names, a test that names an id which is not
 * there, a link to a file that does not exist, and a reference of the settings that
 * is not the code's.
 */
export function checkDocs(): string[] {
  return [...checkUpstreamIds(), ...checkLinks(), ...checkReference()];
}

function checkUpstreamIds(): string[] {
  const documented = new Set(
    Array.from(readFileSync("docs/upstreams.md", "utf8").matchAll(/^\| ([OWA]-\d{2}) \|/gm), ([, id]) => id),
  );
  const tested = new Set<string>();
  const problems: string[] = [];
  for (const file of filesBelow("test", ".test.ts")) {
    for (const [id] of readFileSync(file, "utf8").matchAll(idPattern)) {
      tested.add(id);
      if (!documented.has(id)) {
        problems.push(`${file} names ${id}, which docs/upstreams.md does not know`);
      }
    }
  }
  for (const id of documented) {
    if (id !== undefined && !tested.has(id)) {
      problems.push(`docs/upstreams.md has ${id}, which no test names`);
    }
  }
  return problems;
}

function checkReference(): string[] {
  const isCurrent =
    existsSync(referencePath) && readFileSync(referencePath, "utf8") === configurationReference();
  return isCurrent ? [] : [`${referencePath} is not what the settings are: npm run generate`];
}

function checkLinks(): string[] {
  const pages = [...readdirSync(".").filter((name) => name.endsWith(".md")), ...filesBelow("docs", ".md")];
  return pages.flatMap((page) =>
    Array.from(readFileSync(page, "utf8").matchAll(/\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)/g), ([, link]) =>
      join(page, "..", link ?? ""),
    )
      .filter((target) => !existsSync(target))
      .map((target) => `${page} links to ${target}, which is not there`),
  );
}

function filesBelow(directory: string, ending: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(ending))
    .map((name) => join(directory, name));
}
