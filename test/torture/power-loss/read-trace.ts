import { readFileSync } from "node:fs";
import { basename, dirname } from "node:path";

/** What a process did to the files of one directory, in order. */
export type FileOp =
  | { kind: "create"; name: string }
  | { kind: "unlink"; name: string }
  | { kind: "rename"; name: string; to: string }
  | { kind: "write"; name: string; offset: number; data: Buffer }
  | { kind: "truncate"; name: string; size: number }
  | { kind: "sync"; name: string }
  | { kind: "syncDirectory" }
  /** A line was written to the log beside it. */
  | { kind: "said"; text: string };

/** The system calls that change files. */
export const tracedCalls =
  "openat,open,creat,unlink,unlinkat,rename,renameat,renameat2,pwrite64,pwritev,write,writev,ftruncate,truncate,fallocate,fsync,fdatasync,copy_file_range,sendfile,mmap";

/** Reads what `strace -f -y -xx` wrote. Throws for what it does not understand. */
export function readTrace(path: string, directory: string, logPath: string): FileOp[] {
  const unfinished = new Map<string, string>();
  const offsets = new Map<string, number>();
  const exists = new Set<string>();
  const ops: FileOp[] = [];

  function nameOf(file: string): string | undefined {
    return dirname(file) === directory && basename(file) !== "ballast" ? basename(file) : undefined;
  }

  for (const line of readFileSync(path, "latin1").split("\n")) {
    const [, pid = "", text = ""] = /^(\d+)\s+(.*)$/.exec(line) ?? [];
    if (text.endsWith("<unfinished ...>")) {
      unfinished.set(pid, text.slice(0, -"<unfinished ...>".length));
      continue;
    }
    // The end of a call counts: before it nothing is certain.
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(text);
    const call = resumed === null ? text : (unfinished.get(pid) ?? "") + (resumed[1] ?? "");
    const match = /^(\w+)\((.*)\)\s+= (-?\d+)/.exec(call);
    if (match === null || Number(match[3]) < 0) {
      continue;
    }
    const [, name = "", args = "", result = ""] = match;
    const strings = Array.from(args.matchAll(/"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?/g), ([, hex = "", cut]) => ({
      data: Buffer.from(hex.replaceAll("\\x", ""), "hex"),
      isCut: cut !== undefined,
    }));
    const file = textOf(/^\d+<((?:\\x[0-9a-f]{2}|[^>])*)>/.exec(args)?.[1] ?? "");
    const numbers = args
      .replace(/<[^>]*>/g, "")
      .replace(/"[^"]*"/g, "")
      .split(",")
      .map(Number);

    if (file === logPath && name === "write") {
      ops.push({ kind: "said", text: strings[0]?.data.toString() ?? "" });
      continue;
    }
    if (name === "openat" || name === "open") {
      const opened = nameOf(strings[0]?.data.toString() ?? "");
      if (opened !== undefined && args.includes("O_CREAT") && !exists.has(opened)) {
        exists.add(opened);
        ops.push({ kind: "create", name: opened });
      }
    } else if (name === "unlink" || name === "unlinkat") {
      const gone = nameOf(strings[0]?.data.toString() ?? "");
      if (gone !== undefined) {
        exists.delete(gone);
        ops.push({ kind: "unlink", name: gone });
      }
    } else if (name.startsWith("rename")) {
      const [from, to] = strings.map(({ data }) => nameOf(data.toString()));
      if (from !== undefined && to !== undefined) {
        ops.push({ kind: "rename", name: from, to });
      }
    } else if (file === directory && name.endsWith("sync")) {
      ops.push({ kind: "syncDirectory" });
    } else {
      const changed = nameOf(file);
      if (changed === undefined) {
        continue;
      }
      const [written] = strings;
      switch (name) {
        case "fsync":
        case "fdatasync":
          ops.push({ kind: "sync", name: changed });
          break;
        case "ftruncate":
          ops.push({ kind: "truncate", name: changed, size: numbers[1] ?? 0 });
          break;
        case "pwrite64":
        case "write": {
          if (written === undefined || written.isCut || written.data.length !== Number(result)) {
            throw new Error(`a write is not whole in the trace: ${line.slice(0, 200)}`);
          }
          const offset = name === "write" ? (offsets.get(changed) ?? 0) : (numbers.at(-1) ?? 0);
          offsets.set(changed, offset + written.data.length);
          ops.push({ kind: "write", name: changed, offset, data: written.data });
          break;
        }
        default:
          throw new Error(`${name} is not understood: ${line.slice(0, 200)}`);
      }
    }
  }
  return ops;
}

function textOf(text: string): string {
  return text.replace(/\\x([0-9a-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}
