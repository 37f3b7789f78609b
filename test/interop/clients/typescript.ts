import type { Client } from "../support/client.ts";
import { buildNpmProject, packageVersions } from "../support/npm-project.ts";

export const clients: Client[] = [
  nodeClient("connect-node", "TypeScript with Connect", [
    "@connectrpc/connect-node",
    "@bufbuild/protobuf",
    "@bufbuild/protoc-gen-es",
    "@bufbuild/buf",
    "typescript",
  ]),
  nodeClient("grpc-js", "TypeScript with grpc-js", ["@grpc/grpc-js", "@grpc/proto-loader", "typescript"]),
];

function nodeClient(name: string, recipe: string, packages: readonly string[]): Client {
  return {
    name,
    recipe,
    async build(stage) {
      const project = await buildNpmProject(stage, `examples/typescript/${name}`);
      return {
        versions: { Node: process.versions.node, ...packageVersions(project, packages) },
        launch: (command) => ({
          command: process.execPath,
          args: ["src/main.ts", command],
          cwd: project.directory,
        }),
      };
    },
  };
}
