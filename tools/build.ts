import { spawnSync } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { rolldown } from "rolldown";

// Everything that the published package and the image have and a checkout has not. The
// sources become few files: each file costs a start a millisecond, and there are hundreds
// (docs/decisions/0011-bundled-build.md). So do the two libraries that most of the others
// come from; the rest stays where npm puts it.

rmSync("dist", { recursive: true, force: true });
const bundle = await rolldown({
  // The thread of the store begins in a file of its own, beside whoever starts it.
  input: { main: "src/main.ts", "store-worker": "src/outbox/store-worker.ts" },
  platform: "node",
  external: (id) => !/^[./]/.test(id) && !/^@(bufbuild|connectrpc)\//.test(id),
});
const { output } = await bundle.write({
  dir: "dist/src",
  format: "esm",
  chunkFileNames: "[name]-[hash].js",
});
await bundle.close();
const modules = output.flatMap((file) => (file.type === "chunk" ? file.moduleIds : []));
const foreign = modules.filter((id) => id.includes("/node_modules/"));
const notices = new Set(foreign.map((id) => noticeOf(readFileSync(id, "utf8"))));
writeFileSync(
  "dist/third-party-notices.txt",
  `@bufbuild/protobuf (Apache-2.0 and BSD-3-Clause), @connectrpc/connect and\n@connectrpc/connect-node (Apache-2.0) are part of the files beside this one.\n\n${[...notices].filter(Boolean).join("\n\n")}\n`,
);

const built = spawnSync("buf", ["build", "proto", "-o", "dist/taskgate.binpb"], { stdio: "inherit" });
process.exitCode = built.status === 0 ? 0 : 1;

// The comment with which a file begins: its license's words, which bundling takes away.
function noticeOf(source: string): string {
  const lines = source.split("\n");
  const end = lines.findIndex((line) => !line.startsWith("//"));
  return lines.slice(0, Math.max(0, end)).join("\n");
}
