import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

// What the published package must do, shown where nothing of the checkout is: it
// is packed, installed in an empty directory, and its `taskgate dev` answers.

const directory = mkdtempSync(join(tmpdir(), "taskgate-package-"));
try {
  run("npm", ["pack", "--silent", "--pack-destination", directory], ".");
  const [tarball] = readdirSync(directory);
  if (tarball === undefined) {
    throw new Error("npm pack made no tarball");
  }
  writeFileSync(join(directory, "package.json"), '{"private":true}');
  run("npm", ["install", "--no-audit", "--no-fund", join(directory, tarball)], directory);
  const installed = join(directory, "node_modules/taskgate");
  for (const file of ["dist/src/main.js", "dist/taskgate.binpb", "proto/taskgate/v1/task_status.proto"]) {
    assert(existsSync(join(installed, file)), `the package has no ${file}`);
  }
  const strangers = readdirSync(join(directory, "node_modules")).filter((name) => name.startsWith("node-"));
  assert(strangers.length === 0, `the package brings a runtime: ${strangers}`);
  assert(!existsSync(join(installed, "src")), "the package ships its source");
  await callDev(join(directory, "node_modules/.bin/taskgate"), directory);
  console.log("ok     the package installs, and its taskgate dev answers");
} finally {
  rmSync(directory, { recursive: true });
}

async function callDev(taskgate: string, cwd: string): Promise<void> {
  const child = spawn(process.execPath, [taskgate, "dev", "--listen", "127.0.0.1:0", "--ops-listen", "off"], {
    cwd,
    stdio: ["ignore", "pipe", "pipe"],
  });
  try {
    const address = /gateway +(\S+)/.exec(await readUntil(child, "aidbox "))?.[1];
    const response = await fetch(`http://${address}/taskgate.v1.TaskStatusService/UpdateTask`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        taskRunId: "1d876307-8c0a-42a1-8299-af0516223652",
        status: "TASK_RUN_STATUS_SUCCEEDED",
      }),
    });
    const text = await response.text();
    assert(text.includes("DELIVERY_STATE_DELIVERED"), `the call was answered ${text}`);
    child.kill("SIGTERM");
    const [code] = await once(child, "close");
    assert(code === 0, `taskgate dev ended with ${code}`);
  } finally {
    child.kill("SIGKILL");
  }
}

async function readUntil(child: ChildProcess, word: string): Promise<string> {
  let text = "";
  for await (const chunk of child.stdout ?? []) {
    text += chunk;
    if (text.includes(word)) {
      return text;
    }
  }
  throw new Error(`taskgate dev ended without a word of ${word}`);
}

function run(command: string, args: string[], cwd: string): void {
  const result = spawnSync(command, args, { cwd: resolve(cwd), encoding: "utf8" });
  assert(result.status === 0, `${command} ${args.join(" ")} failed: ${result.stdout}${result.stderr}`);
}

function assert(holds: boolean, problem: string): void {
  if (!holds) {
    throw new Error(problem);
  }
}
