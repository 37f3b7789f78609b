import { readFileSync } from "node:fs";
import { dirname, isAbsolute, join } from "node:path";
import type { BuiltClient, Client } from "../support/client.ts";
import { workUntilStopped } from "../support/client-story.ts";
import { findGo } from "../support/go.ts";
import { lastLine } from "../support/last-line.ts";
import { Skip, type Stage } from "../support/stage.ts";
import { requireVersion, toolVersion } from "../support/versions.ts";

const root = new URL("../../../", import.meta.url).pathname;
const example = `${root}examples/go`;
const buildMs = 10 * 60_000;

async function buildGo(stage: Stage, program: string, modules: Record<string, string>): Promise<BuiltClient> {
  const go = await findGo(stage);
  // buf and the recipe call it by its name.
  const tools = isAbsolute(go) ? dirname(go) : undefined;
  const path = tools === undefined ? process.env.PATH : `${tools}:${process.env.PATH}`;
  // Not what a go.mod may fetch: the one that is here.
  const env = { ...process.env, PATH: path, GOTOOLCHAIN: "local", CGO_ENABLED: "0" };
  const version = await toolVersion(stage, go, ["version"]);
  const [, needed = ""] = /^go (\S+)/m.exec(readFileSync(`${example}/go.mod`, "utf8")) ?? [];
  requireVersion("Go", version, needed);
  const fetched = await stage.run(go, ["mod", "download"], { cwd: example, env, timeoutMs: buildMs });
  if (fetched.code !== 0) {
    throw new Skip(`go mod download: ${lastLine(fetched.stderr)}`);
  }
  const binary = join(stage.directory(), program);
  for (const [command, ...args] of [
    [`${root}node_modules/.bin/buf`, "generate"],
    [go, "build", "-o", binary, `./${program}`],
  ] as const) {
    const { code, stderr } = await stage.run(command, args, { cwd: example, env, timeoutMs: buildMs });
    if (code !== 0) {
      throw new Error(`${command} ${args.join(" ")}: ${stderr}`);
    }
  }
  const listed = await stage.run(go, ["list", "-m", "all"], { cwd: example, env });
  const versions = Object.entries(modules).map(([name, path]) => {
    const line = listed.stdout.split("\n").find((each) => each.startsWith(`${path} `));
    return [name, line?.split(" ")[1]?.slice(1) ?? "unknown"] as const;
  });
  return {
    versions: { Go: version, ...Object.fromEntries(versions) },
    launch: (command) => ({ command: binary, args: [command] }),
    more: workUntilStopped,
    ...(tools === undefined ? {} : { tools }),
  };
}

export const clients: Client[] = [
  {
    name: "go-grpc",
    recipe: "Go",
    build: (stage) =>
      buildGo(stage, "grpc", {
        "grpc-go": "google.golang.org/grpc",
        "protoc-gen-go": "google.golang.org/protobuf",
        "protoc-gen-go-grpc": "google.golang.org/grpc/cmd/protoc-gen-go-grpc",
      }),
  },
  {
    name: "go-connect",
    recipe: "Go with Connect",
    build: (stage) =>
      buildGo(stage, "connect", {
        "connect-go, protoc-gen-connect-go": "connectrpc.com/connect",
        "protoc-gen-go": "google.golang.org/protobuf",
      }),
  },
];
