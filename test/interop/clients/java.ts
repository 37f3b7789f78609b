import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Client } from "../support/client.ts";
import { copyProject } from "../support/copy-project.ts";
import { Skip } from "../support/stage.ts";
import { requireVersion, toolVersion } from "../support/versions.ts";

export const clients: Client[] = [
  {
    name: "grpc-java",
    recipe: "Java",
    async build(stage) {
      const tools = {
        JDK: await toolVersion(stage, "javac", ["-version"], /\d+(\.\d+)*/),
        Maven: await toolVersion(stage, "mvn", ["--version"], /(?<=Apache Maven )[\d.]+/),
      };
      requireVersion("JDK", tools.JDK, "17");
      requireVersion("Maven", tools.Maven, "3.8");
      const { directory } = copyProject(stage, "examples/java");
      const maven = await stage.run("mvn", ["-B", "-ntp", "package"], { cwd: directory, timeoutMs: 600_000 });
      if (/Could not transfer|Unknown host|in offline mode/.test(maven.stdout)) {
        throw new Skip("Maven Central is not to be had");
      }
      if (maven.code !== 0) {
        throw new Error(`mvn package: ${maven.stdout.split("\n").slice(-40).join("\n")}`);
      }
      const pom = readFileSync(join(directory, "pom.xml"), "utf8");
      return {
        versions: {
          ...tools,
          "grpc-java": versionIn(pom, "grpc.version"),
          "protoc and protobuf-java": versionIn(pom, "protobuf.version"),
        },
        launch: (command) => ({
          command: "java",
          args: ["-jar", "target/taskgate-example.jar", command],
          cwd: directory,
        }),
      };
    },
  },
];

function versionIn(pom: string, property: string): string {
  return pom.split(`<${property}>`)[1]?.split("<")[0] ?? "unknown";
}
