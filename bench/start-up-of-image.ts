import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { readImage } from "../test/deploy/read-image.ts";
import { findFreePort } from "../test/support/free-port.ts";
import { type ChildProcesses, failOnExit, kill } from "./child-processes.ts";
import { untilFirstAnswer } from "./first-answer.ts";
import { getInfoCall } from "./get-info-call.ts";
import { readUsage } from "./process-usage.ts";
import type { ScenarioContext, ScenarioResult } from "./scenario.ts";
import { temporaryDirectory } from "./servers.ts";
import { compareStarts, type Programs } from "./start-up.ts";

const idleMs = 10_000;
const maxIdlePercent = 1;

/**
 * The same as `start-up`, as the image has it: both built, with its flags for V8 and a
 * cache of what was compiled, probes and metrics on, one upstream configured; and what the
 * gateway uses while it has nothing to do.
 */
export async function runStartUpOfImage(context: ScenarioContext): Promise<ScenarioResult> {
  const { children, progress } = context;
  progress("build");
  const programs = build();
  for (const program of [programs.taskgate, programs.skeleton]) {
    await leaveCache(children, program);
  }
  const { text, data } = await compareStarts(context, programs);
  progress("idle");
  const idlePercent = await measureIdle(children, programs.taskgate);
  const isKept = idlePercent < maxIdlePercent ? "kept" : "MISSED";
  return {
    text: [
      text,
      `idle for ${idleMs / 1000} s: ${idlePercent.toFixed(2)} % of a core`,
      `target: less than ${maxIdlePercent} %: ${isKept}`,
    ].join("\n"),
    data: { ...data, idlePercent },
  };
}

// A directory with what the image has in /app, and the skeleton beside it.
function build(): Programs {
  const built = spawnSync(process.execPath, ["tools/build.ts"], { encoding: "utf8" });
  if (built.status !== 0) {
    throw new Error(`the build failed: ${built.stdout}${built.stderr}`);
  }
  const app = join(temporaryDirectory(), "app");
  mkdirSync(app);
  for (const path of ["bin", "dist", "package.json"]) {
    cpSync(path, join(app, path), { recursive: true });
  }
  symlinkSync(resolve("node_modules"), join(app, "node_modules"));
  const source = readFileSync(new URL("./skeleton.ts", import.meta.url), "utf8");
  writeFileSync(join(app, "skeleton.js"), stripTypeScriptTypes(source));
  const { dependencies } = JSON.parse(readFileSync("package.json", "utf8")) as {
    dependencies: Record<string, string>;
  };
  // What is loaded where metrics are served.
  const metrics = Object.keys(dependencies).filter((name) => name.startsWith("@prometheus-io/"));
  const { NODE_OPTIONS, NODE_ENV } = readImage().env;
  const env = [
    "env",
    `NODE_OPTIONS=${NODE_OPTIONS}`,
    `NODE_ENV=${NODE_ENV}`,
    `NODE_COMPILE_CACHE=${join(app, "cache")}`,
  ];
  const upstream = ["ORCHESTRA_API_KEY=none", "ORCHESTRA_WEBHOOK_URL=http://127.0.0.1:9"];
  const data = temporaryDirectory();
  return {
    taskgate: (listen) => [
      ...env,
      ...upstream,
      process.execPath,
      join(app, "bin/taskgate.js"),
      "serve",
      `--listen=${listen}`,
      "--ops-listen=127.0.0.1:0",
      `--data-dir=${data}`,
    ],
    skeleton: (listen) => [...env, process.execPath, join(app, "skeleton.js"), listen, data, ...metrics],
  };
}

async function start(children: ChildProcesses, commandFor: Programs["taskgate"]) {
  const address = `127.0.0.1:${await findFreePort()}`;
  const child = children.startCommand("server", commandFor(address), { stdio: "ignore" });
  await Promise.race([untilFirstAnswer({ address, ...getInfoCall }), failOnExit(child)]);
  return child;
}

// As the image is made: a start that leaves behind what V8 compiled.
async function leaveCache(children: ChildProcesses, commandFor: Programs["taskgate"]): Promise<void> {
  const child = await start(children, commandFor);
  await delay(1500);
  const exit = once(child, "exit");
  child.kill("SIGTERM");
  await exit;
}

async function measureIdle(children: ChildProcesses, commandFor: Programs["taskgate"]): Promise<number> {
  const child = await start(children, commandFor);
  // Until what a start leaves behind is done.
  await delay(5000);
  const before = readUsage(child.pid ?? 0).cpuMs;
  await delay(idleMs);
  const usedMs = readUsage(child.pid ?? 0).cpuMs - before;
  await kill(child);
  return (usedMs / idleMs) * 100;
}
