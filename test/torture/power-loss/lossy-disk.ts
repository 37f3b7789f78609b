import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Random } from "../random.ts";
import type { FileOp } from "./read-trace.ts";

type Change = Extract<FileOp, { kind: "write" | "truncate" }>;
type Entry = Extract<FileOp, { kind: "create" | "unlink" | "rename" }>;

interface File {
  /** What is surely on the disk. */
  safe: Buffer;
  /** What may be, in any subset. */
  later: Change[];
}

/** How much of what was not synced reaches the disk. */
export type Fate = "nothing" | "some" | "all";

const sectorBytes = 512;

/**
 * A disk that keeps for certain only what was synced: a file's content by a sync
 * of the file, its name by a sync of its directory. Of later writes any subset may
 * be there, some of them torn; later names reach the disk in their order.
 */
export function createLossyDisk() {
  const names = new Map<string, File>();
  let safeNames = new Map<string, File>();
  let laterNames: { op: Entry; file: File | undefined }[] = [];

  function enter(map: Map<string, File>, op: Entry, file: File | undefined): void {
    if (op.kind === "create" && file !== undefined) {
      map.set(op.name, file);
      return;
    }
    const moved = map.get(op.name);
    map.delete(op.name);
    if (op.kind === "rename" && moved !== undefined) {
      map.set(op.to, moved);
    }
  }

  return {
    apply(op: FileOp): void {
      switch (op.kind) {
        case "create":
        case "unlink":
        case "rename": {
          const file = op.kind === "create" ? { safe: Buffer.alloc(0), later: [] } : undefined;
          enter(names, op, file);
          laterNames.push({ op, file });
          break;
        }
        case "write":
        case "truncate":
          names.get(op.name)?.later.push(op);
          break;
        case "sync": {
          const file = names.get(op.name);
          if (file !== undefined) {
            file.safe = file.later.reduce(change, file.safe);
            file.later = [];
          }
          break;
        }
        case "syncDirectory":
          safeNames = new Map(names);
          laterNames = [];
          break;
        case "said":
          break;
        default:
          op satisfies never;
      }
    },

    /** Writes the directory as it may be found after the power has failed now. */
    writeTo(directory: string, fate: Fate, random: Random): void {
      mkdirSync(directory, { mode: 0o700 });
      const found = new Map(safeNames);
      const kept = {
        nothing: 0,
        some: Math.floor(random() * (laterNames.length + 1)),
        all: laterNames.length,
      };
      for (const { op, file } of laterNames.slice(0, kept[fate])) {
        enter(found, op, file);
      }
      const share = random();
      for (const [name, { safe, later }] of found) {
        const survived = later.filter(() => fate === "all" || (fate === "some" && random() < share));
        const content = survived.reduce(
          (before, op) => change(before, fate === "some" && random() < 0.1 ? torn(op, random) : op),
          safe,
        );
        writeFileSync(join(directory, name), content, { mode: 0o600 });
      }
    },
  };
}

function change(content: Buffer, op: Change): Buffer {
  if (op.kind === "truncate") {
    const cut = Buffer.alloc(op.size);
    content.copy(cut);
    return cut;
  }
  const end = op.offset + op.data.length;
  const changed =
    end > content.length
      ? Buffer.concat([content, Buffer.alloc(end - content.length)])
      : Buffer.from(content);
  op.data.copy(changed, op.offset);
  return changed;
}

// Only the first sectors of it were written.
function torn(op: Change, random: Random): Change {
  if (op.kind === "truncate" || op.data.length <= sectorBytes) {
    return op;
  }
  const sectors = Math.floor((random() * op.data.length) / sectorBytes);
  return { ...op, data: op.data.subarray(0, sectors * sectorBytes) };
}
