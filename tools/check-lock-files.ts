import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { basename } from "node:path";

const lockFiles = new Set([
  "package-lock.json",
  "go.sum",
  "Cargo.lock",
  "uv.lock",
  "poetry.lock",
  "requirements.txt",
]);

/**
 * Names committed lock files that say where to download from, and what is missing
 * from npm's: a platform's package that the registry did not have when the lock
 * was written makes `npm ci` fail everywhere.
 */
export function checkLockFiles(): string[] {
  const { stdout } = spawnSync("git", ["ls-files"], { encoding: "utf8" });
  const files = stdout.split("\n").filter((file) => lockFiles.has(basename(file)));
  const withAddress = files
    .filter((file) => /https?:\/\/[^"\s]+\.(tgz|whl|crate|tar\.gz|zip|jar)/.test(readFileSync(file, "utf8")))
    .map((file) => `${file} bears a download address`);
  const withGaps = files
    .filter((file) => basename(file) === "package-lock.json")
    .flatMap(checkOptionalPackages);
  return [...withAddress, ...withGaps];
}

interface LockedPackage {
  optionalDependencies?: Record<string, string>;
}

function checkOptionalPackages(file: string): string[] {
  const lock = JSON.parse(readFileSync(file, "utf8")) as {
    packages: Record<string, LockedPackage>;
  };
  return Object.entries(lock.packages).flatMap(([path, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies)
      .filter((name) => !(`node_modules/${name}` in lock.packages))
      .filter((name) => !(`${path}/node_modules/${name}` in lock.packages))
      .map((name) => `${file} has no ${name}, which ${path} names: npm ci would fail`),
  );
}
