import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";

// Everything that the published package has and a checkout has not.
const commands = [
  ["tsc", "-p", "tsconfig.build.json"],
  ["buf", "build", "proto", "-o", "dist/taskgate.binpb"],
];

rmSync("dist", { recursive: true, force: true });
for (const [command = "", ...args] of commands) {
  const result = spawnSync(command, args, { stdio: "inherit" });
  if (result.status !== 0) {
    process.exit(1);
  }
}
