import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { type Sandbox, startSandbox } from "../../src/sandbox/sandbox.ts";
import { createGrpcClient } from "../torture/grpc-client.ts";
import { judge } from "../torture/judge.ts";
import {
  arrivalsAt,
  drained,
  listDeliveries,
  produce,
  type Report,
  statusReport,
} from "../torture/ledger.ts";
import { createRandom, uuidOf } from "../torture/random.ts";
import { contain } from "./check-image.ts";
import { readImage } from "./read-image.ts";

// Runs the image's tree as the manifests of mode job have it run: user, group, volumes,
// variables and Secret. Kills it in the middle of its work, and judges what arrived.
// Usage: contain.py loopback node smoke.ts ROOT DIRECTORY

const [root = "", directory = ""] = process.argv.slice(2);
const group = 2000;
const tasks = 20;
const reportsPerTask = 10;
const kills = 3;
const image = readImage();
let failures = 0;

function say(isWell: boolean, what: string): void {
  failures += isWell ? 0 : 1;
  process.stdout.write(`${isWell ? "  ✓" : "  ✗"} ${what}\n`);
}

/** A volume as the kubelet makes it for an fsGroup. */
function volume(name: string): string {
  const path = join(directory, name);
  mkdirSync(path);
  chownSync(path, 0, group);
  chmodSync(path, 0o2777);
  return path;
}

const volumes = { socket: volume("socket"), outbox: volume("outbox"), secrets: volume("secrets") };
const terminationLog = join(directory, "termination-log");
const address = `unix:${volumes.socket}/taskgate.sock`;

function manifestEnv(container: string): Record<string, string> {
  const [job] = parseAllDocuments(readFileSync("deploy/kubernetes/job.yaml", "utf8"), { version: "1.1" });
  const { initContainers, containers } = job?.toJS().spec.template.spec ?? {};
  const all: { name: string; env: { name: string; value: string }[] }[] = [...initContainers, ...containers];
  const found = all.find(({ name }) => name === container);
  return Object.fromEntries(found?.env.map(({ name, value }) => [name, value]) ?? []);
}

interface Mount {
  source: string;
  target: string;
  readOnly?: boolean;
}

function start(options: {
  uid: number;
  groups: number[];
  args: string[];
  env: Record<string, string>;
  mounts: Mount[];
}): ChildProcess {
  const spec = { root, gid: options.uid, terminationLog, ...options, env: { ...image.env, ...options.env } };
  return spawn(contain[0], [contain[1], "run", JSON.stringify(spec)], { stdio: ["ignore", "pipe", "pipe"] });
}

/** Runs a command of taskgate as the manifests run the gateway. */
function startTaskgate(sandbox: Sandbox, command: string[]): ChildProcess {
  const [uid = 0] = image.user.split(":").map(Number);
  return start({
    uid,
    groups: [group],
    args: [...image.entrypoint, ...command],
    env: { ...manifestEnv("taskgate"), ORCHESTRA_WEBHOOK_URL: sandbox.orchestra.webhookUrl },
    mounts: [
      { source: volumes.socket, target: "/run/taskgate" },
      { source: volumes.outbox, target: "/var/lib/taskgate" },
      { source: volumes.secrets, target: "/run/secrets/taskgate", readOnly: true },
    ],
  });
}

function startGateway(sandbox: Sandbox): ChildProcess {
  return startTaskgate(sandbox, image.command);
}

/** Runs a command beside the gateway, to its end. */
async function runTaskgate(sandbox: Sandbox, command: string): Promise<{ code: number; stdout: string }> {
  const child = startTaskgate(sandbox, [command]);
  let stdout = "";
  child.stdout?.on("data", (chunk) => {
    stdout += chunk;
  });
  const [code] = await once(child, "close");
  return { code, stdout };
}

/** As the kubelet asks. Resolves with how long that took. */
async function untilStarted(gateway: ChildProcess): Promise<number> {
  const startMs = performance.now();
  let log = "";
  gateway.stderr?.on("data", (chunk) => {
    log += chunk;
  });
  while (gateway.exitCode === null) {
    const response = await fetch("http://127.0.0.1:7451/startupz").catch(() => undefined);
    if (response?.status === 200) {
      return performance.now() - startMs;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`the gateway ended with ${gateway.exitCode}: ${log}`);
}

/** Ends it and what it is the runtime of. */
async function kill(child: ChildProcess): Promise<void> {
  const closed = once(child, "close");
  child.kill("SIGKILL");
  await closed;
}

function inspect(gateway: ChildProcess): void {
  const runtime = gateway.pid ?? 0;
  const pid = readFileSync(`/proc/${runtime}/task/${runtime}/children`, "utf8").trim();
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const field = (name: string) => new RegExp(`^${name}:\\s+(.*?)\\s*$`, "m").exec(status)?.[1];
  say(field("Uid") === "65532\t65532\t65532\t65532", `it is user ${field("Uid")?.split("\t")[0]}`);
  say(field("NSpid")?.split("\t").at(-1) === "1", "it is process 1");
  const rights = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(field);
  say(
    rights.every((right) => /^0+$/.test(right ?? "")),
    "it has no capabilities, and can get none",
  );
  say(
    field("NoNewPrivs") === "1" && field("Seccomp") === "2",
    "it cannot get more rights, and has a seccomp filter",
  );
  const mounts = readFileSync(`/proc/${pid}/mountinfo`, "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => line.split(" "));
  const writable = mounts.filter((mount) => mount[5]?.startsWith("rw")).map((mount) => mount[4]);
  const expected = ["/run/taskgate", "/var/lib/taskgate"];
  const others = writable.filter(
    (path) => !expected.includes(path ?? "") && !/^\/(proc|dev\/)/.test(path ?? ""),
  );
  say(
    others.length === 0,
    `it can write to ${writable.filter((path) => expected.includes(path ?? "")).join(" and ")} only${others.length === 0 ? "" : `, and to ${others}`}`,
  );
  say(
    !existsSync(`/proc/${pid}/root/tmp`) && !existsSync(`/proc/${pid}/root/bin/sh`),
    "it has no /tmp and no shell",
  );
  const devices = readFileSync(`/proc/${pid}/net/dev`, "utf8")
    .match(/^\s*\w+(?=:)/gm)
    ?.map((name) => name.trim());
  say(devices?.join() === "lo", `its network is ${devices}`);
  const rss = Number(field("VmRSS")?.replace(" kB", "")) / 1024;
  process.stdout.write(`    resident: ${rss.toFixed(0)} MiB\n`);
}

/** A worker as another user, with what the manifests give it: taskgate run, over the socket. */
async function report(groups: number[], taskRunId: string): Promise<{ code: number; stderr: string }> {
  const worker = start({
    uid: 10001,
    groups,
    args: [
      ...image.entrypoint,
      "run",
      "--report-timeout",
      "3s",
      "--wait-for",
      "delivered",
      "--",
      "/usr/local/bin/node",
      "-e",
      "process.exit(0)",
    ],
    env: { ...manifestEnv("worker"), ORCHESTRA_TASK_RUN_ID: taskRunId },
    mounts: [{ source: volumes.socket, target: "/run/taskgate", readOnly: true }],
  });
  let stderr = "";
  worker.stderr?.on("data", (chunk) => {
    stderr += chunk;
  });
  const [code] = await once(worker, "close");
  return { code, stderr };
}

function plan(taskRunId: string): Report[] {
  return Array.from({ length: reportsPerTask }, (_, index) =>
    statusReport({ task: taskRunId, group: index }, index < reportsPerTask - 1 ? "RUNNING" : "SUCCEEDED"),
  );
}

const random = createRandom(7);
const sandbox = await startSandbox({ random });
const key = join(volumes.secrets, "orchestra-api-key");
writeFileSync(key, sandbox.orchestra.apiKey, { mode: 0o440 });
chownSync(key, 0, group);
writeFileSync(terminationLog, "");
chmodSync(terminationLog, 0o666);
const client = createGrpcClient(address);
let gateway = startGateway(sandbox);
try {
  process.stdout.write(`    started in ${(await untilStarted(gateway)).toFixed(0)} ms\n`);
  inspect(gateway);

  const health = await runTaskgate(sandbox, "health");
  say(health.code === 0, `taskgate health ends with ${health.code}`);
  const doctor = await runTaskgate(sandbox, "doctor");
  say(
    doctor.code === 0 && !doctor.stdout.includes("warning  file mode"),
    `taskgate doctor ends with ${doctor.code}: ${doctor.stdout.trim().split("\n").at(-1)}`,
  );

  const own = uuidOf(random);
  const worker = await report([group], own);
  const status = sandbox.orchestra.taskRuns.get(own)?.status;
  say(
    worker.code === 0 && status === "SUCCEEDED",
    `a worker of user 10001 reports over the socket: ${status} ${worker.stderr}`,
  );
  const stranger = uuidOf(random);
  const refused = await report([], stranger);
  say(
    sandbox.orchestra.taskRuns.get(stranger) === undefined,
    `one that is not in the group does not: ${refused.stderr.trim().split("\n").at(-1)}`,
  );
  const before = (await listDeliveries(client)).length;

  const plans = Array.from({ length: tasks }, () => plan(uuidOf(random)));
  const producing = Promise.all(plans.map((reports) => produce(client, reports)));
  const restartsMs: number[] = [];
  for (let count = 0; count < kills; count += 1) {
    await new Promise((resolve) => setTimeout(resolve, 100 + random() * 300));
    await kill(gateway);
    gateway = startGateway(sandbox);
    restartsMs.push(await untilStarted(gateway));
  }
  await producing;
  await drained(client, 60_000);
  const deliveries = (await listDeliveries(client)).slice(before);
  const arrivals = arrivalsAt(sandbox).filter(({ task }) => task !== own);
  const { problems, duplicates } = judge(
    { reports: plans.flat(), deliveries, arrivals },
    { maxDuplicates: 128 * kills },
  );
  const figures = `${tasks * reportsPerTask} reports, ${kills} kills, restarts in ${restartsMs.map((ms) => ms.toFixed(0)).join(", ")} ms, ${duplicates} duplicates`;
  say(
    problems.length === 0,
    `nothing is lost or out of order: ${figures}${problems.map((problem) => `\n    ${problem}`).join("")}`,
  );

  const closed = once(gateway, "close");
  gateway.kill("SIGTERM");
  const [code] = await closed;
  say(code === 0, `asked to end, it ends with ${code}`);
  const words = readFileSync(terminationLog, "utf8").trim();
  say(words === "taskgate ended with 0: all is delivered", `and says so to Kubernetes: ${words}`);
} finally {
  client.close();
  gateway.kill("SIGKILL");
  await sandbox.close();
}
process.exit(failures === 0 ? 0 : 1);
