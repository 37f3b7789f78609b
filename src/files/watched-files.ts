import { type FSWatcher, watch } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { messageOf } from "../model/error-message.ts";

export interface WatchedFilesDeps {
  setTimer: (run: () => void, delayMs: number) => () => void;
  /** A file cannot be read. Is told once, until it can be again. */
  onUnreadable: (path: string, message: string) => void;
  /** How often is looked without a reason. Default: 15 s. */
  intervalMs?: number;
}

/** Small files that are read again when they change. */
export interface WatchedFiles {
  /**
   * Calls `onChange` with the contents of the files, in their order, whenever one of
   * them is not what it was the last time; for the first time, what `known` says.
   */
  watch(
    paths: readonly string[],
    known: readonly string[],
    onChange: (contents: readonly string[]) => void,
  ): void;
  /** Looks at all of them now. Resolves when what changed before the call has been told. */
  look(): Promise<void>;
  /** Looks no more. */
  close(): void;
}

interface Group {
  readonly paths: readonly string[];
  contents: readonly string[];
  readonly onChange: (contents: readonly string[]) => void;
}

interface Watched {
  readonly watcher: FSWatcher;
  /** Which directory it is, whatever its name is now. */
  readonly id: string;
}

const defaultIntervalMs = 15_000;
// Several files are often written one after the other.
const settleMs = 100;

/**
 * Watches files. Kubernetes changes a mounted secret by swapping a symbolic link
 * beside it, which only the directory tells of; some file systems tell nothing at
 * all. So the directories are watched, and besides the files are looked at from time
 * to time.
 */
export function createWatchedFiles(deps: WatchedFilesDeps): WatchedFiles {
  const { setTimer, intervalMs = defaultIntervalMs } = deps;
  const groups: Group[] = [];
  const directories = new Map<string, Watched | undefined>();
  const names = new Set<string>();
  const unreadable = new Set<string>();
  let isClosed = false;
  let cancelInterval: (() => void) | undefined;
  let cancelSettle: (() => void) | undefined;
  let looking = Promise.resolve();
  let next: Promise<void> | undefined;

  function look(): Promise<void> {
    // One that has begun may have read what has changed since.
    next ??= looking.then(() => {
      next = undefined;
      looking = lookNow();
      return looking;
    });
    return next;
  }

  async function lookNow(): Promise<void> {
    for (const directory of directories.keys()) {
      await watchDirectory(directory);
    }
    for (const group of groups) {
      await readGroup(group);
    }
  }

  async function readGroup(group: Group): Promise<void> {
    const contents: string[] = [];
    for (const path of group.paths) {
      const content = await read(path);
      if (content === undefined) {
        return;
      }
      contents.push(content);
    }
    if (!isClosed && contents.some((content, index) => content !== group.contents[index])) {
      group.contents = contents;
      group.onChange(contents);
    }
  }

  async function read(path: string): Promise<string | undefined> {
    try {
      const content = await readFile(path, "utf8");
      unreadable.delete(path);
      return content;
    } catch (error) {
      if (!isClosed && !unreadable.has(path)) {
        unreadable.add(path);
        deps.onUnreadable(path, messageOf(error));
      }
      return undefined;
    }
  }

  // A directory may be replaced by another one of its name.
  async function watchDirectory(directory: string): Promise<void> {
    const id = await stat(directory).then(
      ({ dev, ino }) => `${dev}/${ino}`,
      () => undefined,
    );
    const watched = directories.get(directory);
    if (isClosed || watched?.id === id) {
      return;
    }
    watched?.watcher.close();
    directories.set(directory, id === undefined ? undefined : open(directory, id));
  }

  function open(directory: string, id: string): Watched | undefined {
    try {
      const watcher = watch(directory, { persistent: false }, (_, name) => {
        if (!concerns(name)) {
          return;
        }
        cancelSettle ??= setTimer(() => {
          cancelSettle = undefined;
          void look();
        }, settleMs);
      });
      watcher.on("error", () => {
        watcher.close();
        directories.set(directory, undefined);
      });
      return { watcher, id };
    } catch {
      // The machine has no more watches to give: then the files are only looked at.
      return undefined;
    }
  }

  // Much may happen in a directory that is none of ours.
  function concerns(name: string | null): boolean {
    return name === null || name.startsWith("..") || names.has(name);
  }

  function lookAgain(): void {
    cancelInterval = setTimer(() => {
      void look().then(() => isClosed || lookAgain());
    }, intervalMs);
  }

  return {
    watch(paths, known, onChange) {
      groups.push({ paths, contents: known, onChange });
      for (const path of paths) {
        names.add(basename(path));
        if (!directories.has(dirname(path))) {
          directories.set(dirname(path), undefined);
        }
      }
      if (cancelInterval === undefined) {
        lookAgain();
      }
      // What changed since they were read, and from now on.
      void look();
    },
    look,
    close() {
      isClosed = true;
      cancelInterval?.();
      cancelSettle?.();
      for (const watched of directories.values()) {
        watched?.watcher.close();
      }
      directories.clear();
    },
  };
}
