import { readFileSync } from "node:fs";
import { version } from "../src/version.ts";

/** Names the files that say another version than package.json. */
export function checkVersion(): string[] {
  const expected: unknown = JSON.parse(readFileSync("package.json", "utf8")).version;
  const problems: string[] = [];
  if (version !== expected) {
    problems.push(`src/version.ts says ${version}, and package.json ${expected}`);
  }
  if (!readFileSync("CHANGELOG.md", "utf8").includes(`## ${expected}`)) {
    problems.push(`CHANGELOG.md has no section ${expected}`);
  }
  return problems;
}
