import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Client } from "../support/client.ts";
import { workUntilStopped } from "../support/client-story.ts";
import { installedOr } from "../support/debian.ts";
import { cacheDirectory, Skip } from "../support/stage.ts";
import { toolVersion } from "../support/versions.ts";

const example = new URL("../../../examples/rust", import.meta.url).pathname;
const buildMs = 10 * 60_000;

export const clients: Client[] = [
  {
    name: "rust",
    recipe: "Rust",
    async build(stage) {
      const tools = {
        Rust: await toolVersion(stage, "rustc", ["--version"]),
        Cargo: await toolVersion(stage, "cargo", ["--version"]),
        // Debian has what the contract imports in a package of its own.
        protoc: await installedOr(stage, ["protobuf-compiler", "libprotobuf-dev"], () =>
          toolVersion(stage, "protoc", ["--version"]),
        ),
      };
      const target = join(cacheDirectory(), "cargo");
      const { code, stderr } = await stage.run("cargo", ["build", "--locked"], {
        cwd: example,
        env: { ...process.env, CARGO_TARGET_DIR: target },
        timeoutMs: buildMs,
      });
      if (/failed to (download|query replaced source|get `|fetch)/.test(stderr)) {
        throw new Skip("the crates are not to be had");
      }
      if (code !== 0) {
        throw new Error(`cargo build: ${stderr.split("\n").slice(-40).join("\n")}`);
      }
      const lock = readFileSync(join(example, "Cargo.lock"), "utf8");
      const crates = ["tonic", "tonic-prost-build", "prost", "tokio"];
      return {
        versions: {
          ...tools,
          ...Object.fromEntries(crates.map((name) => [name, lockedVersion(lock, name)])),
        },
        launch: (command) => ({ command: join(target, "debug/taskgate-example"), args: [command] }),
        more: workUntilStopped,
      };
    },
  },
];

function lockedVersion(lock: string, name: string): string {
  return lock.split(`name = "${name}"\nversion = "`)[1]?.split('"')[0] ?? "unknown";
}
