import { join } from "node:path";
import type { Client } from "../support/client.ts";
import { workUntilStopped } from "../support/client-story.ts";
import { installedOr } from "../support/debian.ts";
import { Skip, type Stage } from "../support/stage.ts";
import { toolVersion } from "../support/versions.ts";

const example = new URL("../../../examples/cpp", import.meta.url).pathname;
const buildMs = 10 * 60_000;

const packages = [
  ...["g++", "make", "cmake", "pkg-config"],
  ...["libgrpc++-dev", "libprotobuf-dev", "protobuf-compiler", "protobuf-compiler-grpc"],
];

async function findTools(stage: Stage): Promise<Record<string, string>> {
  // It tells no version.
  if ((await stage.run("sh", ["-c", "command -v grpc_cpp_plugin"])).code !== 0) {
    throw new Skip("there is no grpc_cpp_plugin");
  }
  await toolVersion(stage, "make", ["--version"]);
  return {
    "g++": await toolVersion(stage, "g++", ["-dumpfullversion"]),
    CMake: await toolVersion(stage, "cmake", ["--version"]),
    "grpc++": await toolVersion(stage, "pkg-config", ["--modversion", "grpc++"]),
    protobuf: await toolVersion(stage, "pkg-config", ["--modversion", "protobuf"]),
    protoc: await toolVersion(stage, "protoc", ["--version"]),
  };
}

export const clients: Client[] = [
  {
    name: "cpp",
    recipe: "C++",
    async build(stage) {
      const versions = await installedOr(stage, packages, () => findTools(stage));
      const directory = stage.directory();
      for (const args of [
        ["-S", example, "-B", directory],
        ["--build", directory, "--parallel", "2"],
      ]) {
        const { code, stdout, stderr } = await stage.run("cmake", args, { timeoutMs: buildMs });
        if (code !== 0) {
          throw new Error(`cmake ${args.join(" ")}: ${stdout.slice(-2000)}${stderr.slice(-2000)}`);
        }
      }
      return {
        versions,
        launch: (command) => ({ command: join(directory, "taskgate-example"), args: [command] }),
        more: workUntilStopped,
      };
    },
  },
];
