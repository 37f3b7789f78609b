import { mkdirSync, readdirSync, readlinkSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { createWatchedFiles, type WatchedFiles } from "../../src/files/watched-files.ts";
import { useDirectory } from "../support/use-directory.ts";
import { useSecretVolume } from "../support/use-secret-volume.ts";

interface Used {
  files: WatchedFiles;
  unreadable: string[];
  /** Says what it is told of, with a wait for the next. */
  watch(
    paths: readonly string[],
    known: readonly string[],
  ): { next(): Promise<readonly string[]>; told: number };
}

// An hour: whatever is told sooner was noticed, or asked for.
function useWatchedFiles(intervalMs = 3_600_000): Used {
  const unreadable: string[] = [];
  const files = createWatchedFiles({
    setTimer(run, delayMs) {
      const timer = setTimeout(run, delayMs);
      return () => clearTimeout(timer);
    },
    onUnreadable: (path) => unreadable.push(path),
    intervalMs,
  });
  onTestFinished(() => files.close());
  return {
    files,
    unreadable,
    watch(paths, known) {
      const queue: (readonly string[])[] = [];
      let wake: () => void = () => undefined;
      const used = {
        told: 0,
        async next() {
          while (queue.length === 0) {
            await new Promise<void>((resolve) => {
              wake = resolve;
            });
          }
          return queue.shift() ?? [];
        },
      };
      files.watch(paths, known, (contents) => {
        used.told += 1;
        queue.push(contents);
        wake();
      });
      return used;
    },
  };
}

test("the swap of the link beside a mounted secret is noticed", async () => {
  const volume = useSecretVolume({ cert: "cert 1", key: "key 1" });
  const { files, watch } = useWatchedFiles();
  const watched = watch([volume.pathOf("cert"), volume.pathOf("key")], ["cert 1", "key 1"]);
  await files.look();
  expect(watched.told).toBe(0);
  for (const version of [2, 3]) {
    volume.swap({ cert: `cert ${version}`, key: `key ${version}` });
    expect(await watched.next()).toEqual([`cert ${version}`, `key ${version}`]);
  }
});

test("a file that is written, or replaced by another of its name, is noticed", async () => {
  const path = join(useDirectory(), "token");
  writeFileSync(path, "1");
  const { files, watch } = useWatchedFiles();
  const watched = watch([path], ["1"]);
  await files.look();
  writeFileSync(path, "2");
  expect(await watched.next()).toEqual(["2"]);
  writeFileSync(`${path}.new`, "3");
  renameSync(`${path}.new`, path);
  expect(await watched.next()).toEqual(["3"]);
});

test("what has changed between its reading and its watch is told", async () => {
  const path = join(useDirectory(), "token");
  writeFileSync(path, "2");
  const { watch } = useWatchedFiles();
  expect(await watch([path], ["1"]).next()).toEqual(["2"]);
});

test("a look tells what has changed before it, whatever look is under way", async () => {
  const path = join(useDirectory(), "token");
  writeFileSync(path, "0");
  const { files, watch } = useWatchedFiles();
  const watched = watch([path], ["0"]);
  await files.look();
  for (let version = 1; version <= 50; version++) {
    void files.look();
    writeFileSync(path, String(version));
    await files.look();
    expect(watched.told).toBe(version);
    expect(await watched.next()).toEqual([String(version)]);
  }
});

test("a directory that is replaced is watched again, and its file is unreadable once", async () => {
  const path = join(useDirectory(), "mount", "token");
  mkdirSync(dirname(path));
  writeFileSync(path, "1");
  const { files, watch, unreadable } = useWatchedFiles();
  const watched = watch([path], ["1"]);
  await files.look();
  rmSync(dirname(path), { recursive: true });
  await files.look();
  await files.look();
  expect(unreadable).toEqual([path]);
  mkdirSync(dirname(path));
  writeFileSync(path, "2");
  await files.look();
  expect(await watched.next()).toEqual(["2"]);
  writeFileSync(path, "3");
  expect(await watched.next()).toEqual(["3"]);
});

test("files are looked at from time to time, too", async () => {
  const path = join(useDirectory(), "token");
  writeFileSync(path, "1");
  const { watch } = useWatchedFiles(20);
  const watched = watch([path], ["1"]);
  writeFileSync(path, "2");
  expect(await watched.next()).toEqual(["2"]);
});

test.skipIf(process.platform !== "linux")("two hundred swaps leave no descriptor behind", async () => {
  const volume = useSecretVolume({ token: "0" });
  const { files, watch } = useWatchedFiles();
  const watched = watch([volume.pathOf("token")], ["0"]);
  await files.look();
  const before = openDescriptors();
  for (let version = 1; version <= 200; version++) {
    volume.swap({ token: String(version) });
    await files.look();
  }
  expect(watched.told).toBe(200);
  expect(openDescriptors()).toBeLessThanOrEqual(before);
});

function openDescriptors(): number {
  return readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return /inotify|\/tmp/.test(readlinkSync(`/proc/self/fd/${fd}`));
    } catch {
      return false;
    }
  }).length;
}

test("closed, it tells nothing any more", async () => {
  const path = join(useDirectory(), "token");
  writeFileSync(path, "1");
  const { files, watch } = useWatchedFiles();
  const watched = watch([path], ["1"]);
  files.close();
  writeFileSync(path, "2");
  await files.look();
  expect(watched.told).toBe(0);
});
