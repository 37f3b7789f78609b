import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { readImage, type Step } from "./read-image.ts";

export interface Reporter {
  say(isWell: boolean, what: string): void;
  skip(what: string, reason: string): void;
}

/** The program that is a container's runtime here. */
export const contain = ["python3", "test/deploy/contain.py"] as const;

/** Makes the tree that deploy/Dockerfile makes, and lets the gateway in it show what it can do. */
export async function checkImage({ say, skip }: Reporter): Promise<void> {
  const reason = missing();
  if (reason !== undefined) {
    skip("image", reason);
    return;
  }
  const directory = mkdtempSync(join(tmpdir(), "taskgate-image-"));
  try {
    const root = replay(directory);
    say(true, "the steps of deploy/Dockerfile make a tree");
    // From here on there is no network but loopback.
    const smoke = ["loopback", process.execPath, "test/deploy/smoke.ts", root, directory];
    const child = spawn(contain[0], [contain[1], ...smoke], { stdio: "inherit" });
    const [code] = await once(child, "exit");
    say(code === 0, "the image does its work where it may do next to nothing");
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function missing(): string | undefined {
  if (process.platform !== "linux" || process.getuid?.() !== 0) {
    return "a root directory and a network of one's own need Linux and root";
  }
  const { status, stderr, error } = spawnSync(contain[0], [contain[1], "loopback", "true"], {
    encoding: "utf8",
  });
  return status === 0 ? undefined : (error?.message ?? stderr.trim().split("\n").at(-1));
}

/**
 * Does what the build stage does, with this Node for the one of the base image and a copy
 * of this checkout for the context. Returns the root of the image.
 */
function replay(directory: string): string {
  const image = readImage();
  const places = new Map([["/src", join(directory, "src")]]);
  for (const [from] of image.copied) {
    places.set(from.replace(/\/$/, ""), join(directory, "root"));
  }
  const placeOf = (path: string) => places.get(path) ?? path;
  let cwd = directory;
  for (const { word, text } of image.build) {
    if (word === "WORKDIR") {
      cwd = placeOf(text);
      mkdirSync(cwd, { recursive: true });
    } else if (word === "COPY") {
      copyContext(text.split(" "), cwd);
    } else {
      const command = text.replace(/(?<= )\/\S+/g, placeOf);
      run("sh", ["-c", command], cwd);
    }
  }
  return placeOf("/rootfs");
}

// What git knows or would take: .dockerignore leaves out the same.
function copyContext(words: readonly Step["text"][], to: string): void {
  const target = words.at(-1) ?? "";
  const listed = run("git", ["ls-files", "-z", "-co", "--exclude-standard"], ".").split("\0").filter(Boolean);
  for (const source of words.slice(0, -1)) {
    const files = source === "." ? listed : [source];
    for (const file of files) {
      const place = source === "." ? file : join(target, file.split("/").at(-1) ?? "");
      mkdirSync(dirname(join(to, place)), { recursive: true });
      cpSync(file, join(to, place));
    }
  }
}

function run(command: string, args: string[], cwd: string): string {
  const path = [dirname(process.execPath), process.env.PATH].join(delimiter);
  const result = spawnSync(command, args, { cwd, encoding: "utf8", env: { ...process.env, PATH: path } });
  if (result.status !== 0) {
    throw new Error(`${command} ${args.join(" ")} failed: ${result.error ?? result.stdout + result.stderr}`);
  }
  return result.stdout;
}
