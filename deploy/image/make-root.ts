import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  cpSync,
  mkdirSync,
  readdirSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";

// Makes the file tree of the image in the directory that is named, out of the build in
// this checkout and the Node that runs this. To be run as root, on the system whose
// libraries the image is to have: in the build stage of deploy/Dockerfile.

const uid = 65532;
const root = process.argv[2];
if (root === undefined) {
  throw new Error("usage: node deploy/image/make-root.ts DIRECTORY");
}
mkdirSync(root, { recursive: true });
if (readdirSync(root).length > 0) {
  throw new Error(`${root} is not empty`);
}
addNode(root);
addSystemFiles(root);
addApplication(join(root, "app"));
await addCompileCache(root);

/** Node, and the libraries that it is linked with, where it looks for them. */
function addNode(root: string): void {
  const node = realpathSync(process.execPath);
  copy(node, join(root, "usr/local/bin/node"));
  // A line each: "libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)", or the loader's path alone.
  const paths = run("ldd", [node], ".").matchAll(/(?:=> |^\s*)(\/\S+) \(0x/gm);
  for (const [, path = ""] of paths) {
    copy(realpathSync(path), join(root, path));
  }
}

/** What libraries ask the system for. */
function addSystemFiles(root: string): void {
  const files = {
    "etc/passwd": `root:x:0:0:root:/:/none\ntaskgate:x:${uid}:${uid}:taskgate:/:/none\n`,
    "etc/group": `root:x:0:\ntaskgate:x:${uid}:\n`,
    // Hosts that the pod names go before DNS.
    "etc/nsswitch.conf": "hosts: files dns\n",
  };
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  // Where volumes are mounted; without one, the directories of its user.
  for (const path of ["run/taskgate", "var/lib/taskgate"]) {
    mkdirSync(join(root, path), { recursive: true });
    chmodSync(join(root, path), 0o700);
    chownSync(join(root, path), uid, uid);
  }
  // Where the container's runtime mounts its own.
  for (const path of ["dev", "proc", "sys"]) {
    mkdirSync(join(root, path));
  }
}

/** The build and what it needs at run time, exactly as the lock file has it. */
function addApplication(app: string): void {
  for (const path of ["package.json", "package-lock.json", ".npmrc", "tools/runtime/package.json"]) {
    copy(path, join(app, path));
  }
  run("npm", ["ci", "--omit=dev", "--omit=optional"], app);
  for (const path of ["package-lock.json", ".npmrc", "tools", "node_modules/taskgate-runtime"]) {
    rmSync(join(app, path), { recursive: true, force: true });
  }
  for (const path of ["bin", "dist", "LICENSE"]) {
    copy(path, join(app, path));
  }
}

/**
 * Lets the gateway start once where it will be and as who it will be, which Node wants to
 * be equal, so that V8 leaves behind what it compiled. A start reads that and never
 * writes: the root of the container is read-only.
 */
async function addCompileCache(root: string): Promise<void> {
  const cache = join(root, "app/cache");
  const scratch = join(root, "scratch");
  for (const path of [cache, scratch]) {
    mkdirSync(path);
    chownSync(path, uid, uid);
  }
  const taskgate = ["/usr/local/bin/node", "/app/bin/taskgate.js", "serve", "--data-dir", "/scratch"];
  const child = spawn(
    "chroot",
    [`--userspec=${uid}:${uid}`, root, ...taskgate, "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"],
    {
      env: { PATH: process.env.PATH, NODE_COMPILE_CACHE: "/app/cache", ORCHESTRA_API_KEY: "none" },
      stdio: ["ignore", "ignore", "pipe"],
    },
  );
  await untilListening(child);
  // The thread of the store writes what it has half a second after its start.
  await new Promise((resolve) => setTimeout(resolve, 1500));
  child.kill("SIGTERM");
  const [code] = await once(child, "close");
  if (code !== 0) {
    throw new Error(`taskgate ended with ${code} while the image was made`);
  }
  rmSync(scratch, { recursive: true });
  const files = readdirSync(cache, { recursive: true, withFileTypes: true });
  if (files.length < 100) {
    throw new Error(`the cache of compiled files has only ${files.length}`);
  }
  // Nobody who gets into the gateway writes code that the next one runs.
  chownSync(cache, 0, 0);
  for (const file of files) {
    const path = join(file.parentPath, file.name);
    chownSync(path, 0, 0);
    chmodSync(path, file.isDirectory() ? 0o755 : 0o644);
  }
}

async function untilListening(child: ChildProcess): Promise<void> {
  let log = "";
  await new Promise<void>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", () => reject(new Error(`taskgate did not start while the image was made: ${log}`)));
    child.stderr?.on("data", (chunk) => {
      log += chunk;
      if (log.includes('"listening"')) {
        resolve();
      }
    });
  });
}

function copy(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true });
  cpSync(from, to, { recursive: true, dereference: true });
}

function run(command: string, args: string[], cwd: string): string {
  const result = spawnSync(command, args, { cwd, encoding: "utf8" });
  if (result.status !== 0) {
    throw new Error(
      `${command} ${args.join(" ")} failed: ${result.error ?? `${result.stdout}${result.stderr}`}`,
    );
  }
  return result.stdout;
}
