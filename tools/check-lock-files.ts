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

/** Names committed lock files that say where to download from. */
export function checkLockFiles(): string[] {
  const { stdout } = spawnSync("git", ["ls-files"], { encoding: "utf8" });
  return stdout
    .split("\n")
    .filter((file) => lockFiles.has(basename(file)))
    .filter((file) => /https?:\/\/[^"\s]+\.(tgz|whl|crate|tar\.gz|zip|jar)/.test(readFileSync(file, "utf8")))
    .map((file) => `${file} bears a download address`);
}
