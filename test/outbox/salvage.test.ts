import { mkdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { Worker } from "node:worker_threads";
import { describe, expect, test } from "vitest";
import type { DeliveryRow } from "../../src/outbox/store.ts";
import { useDirectory } from "../support/use-directory.ts";
import {
  type Accepted,
  type FlipJob,
  type FlipVerdict,
  judge,
  openDamaged,
  sendAll,
} from "./judge-damage.ts";
import { acceptOf, newReport } from "./use-store.ts";

const taskCount = 60;
const perTask = 4;
// SQLite's default.
const pageBytes = 4096;

/** Numbers in [0, 1) that are the same in every run. */
function seededRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (1664525 * state + 1013904223) % 2 ** 32;
    return state / 2 ** 32;
  };
}

/** A database with deliveries that wait, closed; what was accepted, and its bytes. */
function useClosedDatabase(): { bytes: Buffer; accepted: Accepted } {
  const directory = useDirectory();
  const store = openDamaged(directory);
  const accepted: Accepted = new Map();
  const ops = Array.from({ length: taskCount * perTask }, (_, index) => {
    const key = `task-${index % taskCount}`;
    const body = JSON.stringify({ index, payload: `${key} `.repeat(1 + (index % 17)) });
    const kind = index >= taskCount * (perTask - 1) ? "outcome" : "output";
    return acceptOf(newReport(kind, key, body), { requestId: `r${index}`, contentHash: "h" });
  });
  for (const [index, result] of store.runAll(ops).entries()) {
    const { row } = result as { row: DeliveryRow };
    const { body, key } = ops[index]?.delivery ?? { body: "", key: "" };
    accepted.set(row.id, { body, key });
  }
  store.close();
  return { bytes: readFileSync(join(directory, "outbox.db")), accepted };
}

const hangMs = 15_000;

/** Flips one bit at a time, and says what must not happen and happened. */
async function judgeFlips(bits: readonly number[]): Promise<{ problems: string[]; told: number }> {
  const { bytes, accepted } = useClosedDatabase();
  const verdicts: FlipVerdict[] = [];
  while (verdicts.length < bits.length) {
    const left = bits.slice(verdicts.length);
    const ended = await judgeUntilHang({ bytes, accepted, bits: left, directory: useDirectory() }, verdicts);
    if (verdicts.length < bits.length) {
      const bit = Number(bits[verdicts.length]);
      verdicts.push({ bit, isTold: false, problems: [ended] });
    }
  }
  const problems = verdicts.flatMap(({ bit, problems: [problem] }) =>
    problem === undefined ? [] : [`bit ${bit & 7} of byte ${bit >> 3}: ${problem}`],
  );
  return { problems, told: verdicts.filter(({ isTold }) => isTold).length };
}

// Ends when all are judged, or when one takes too long or too much; says why.
function judgeUntilHang(job: FlipJob, verdicts: FlipVerdict[]): Promise<string> {
  const worker = new Worker(new URL("./judge-damage.ts", import.meta.url), {
    workerData: job,
    resourceLimits: { maxOldGenerationSizeMb: 512 },
  });
  return new Promise((resolve) => {
    const stop = () => {
      resolve("it runs for ever");
      void worker.terminate();
    };
    let timer = setTimeout(stop, hangMs);
    worker.on("message", (verdict: FlipVerdict) => {
      verdicts.push(verdict);
      clearTimeout(timer);
      timer = setTimeout(stop, hangMs);
    });
    worker.on("error", (error) => resolve(`it fails: ${error.message}`));
    worker.on("exit", () => {
      clearTimeout(timer);
      resolve("it ends");
    });
  });
}

describe("a database with one flipped bit is opened, and no delivery is lost silently or sent changed", () => {
  test("at 200 random places", { timeout: 240_000 }, async () => {
    const random = seededRandom(Number(process.env.SEED ?? 1));
    const size = useClosedDatabase().bytes.length * 8;
    const bits = new Set<number>();
    while (bits.size < 200) {
      bits.add(Math.floor(random() * size));
    }
    const { problems, told } = await judgeFlips([...bits]);
    expect(problems).toEqual([]);
    expect(told).toBeGreaterThan(20);
  });

  test("at every byte of the file's header", { timeout: 240_000 }, async () => {
    const { problems } = await judgeFlips([
      ...Array.from({ length: 100 }, (_, byte) => byte * 8 + (byte % 8)),
      // The sign of the schema's version.
      60 * 8 + 7,
    ]);
    expect(problems).toEqual([]);
  });
});

describe("a database that is damaged otherwise", () => {
  test.for([
    ["cut in half", (path: string, bytes: Buffer) => truncateSync(path, bytes.length >> 1)],
    ["cut within a page", (path: string, bytes: Buffer) => truncateSync(path, bytes.length - 100)],
    [
      "with a page of zeros",
      (path: string, bytes: Buffer) => writeFileSync(path, zeroed(bytes, bytes.length / pageBytes / 2)),
    ],
    ["with a first page of zeros", (path: string, bytes: Buffer) => writeFileSync(path, zeroed(bytes, 0))],
  ] as const)("%s is told, and what can be read of it is sent as it was", ([, damage]) => {
    const { bytes, accepted } = useClosedDatabase();
    const directory = useDirectory();
    const path = join(directory, "damaged.db");
    writeFileSync(path, bytes);
    damage(path, bytes);
    const verdict = judge(join(directory, "data"), readFileSync(path), accepted);
    expect(verdict).toEqual({ problems: [], isTold: true });
  });
});

test("a rescue that was cut off begins anew, and loses nothing", () => {
  const { bytes } = useClosedDatabase();
  const directory = join(useDirectory(), "data");
  mkdirSync(directory);
  const aside = join(directory, "outbox.db.damaged-1");
  writeFileSync(aside, bytes);
  writeFileSync(join(directory, "damaged"), aside);
  // What the one before had begun.
  openDamaged(join(directory, "other")).close();
  writeFileSync(join(directory, "outbox.db"), readFileSync(join(directory, "other", "outbox.db")));
  const store = openDamaged(directory);
  expect(store.damage).toMatch(/240 waiting deliveries were saved from it, 0 were damaged$/);
  store.close();
  const again = openDamaged(directory);
  expect(again.damage).toBeUndefined();
  again.close();
});

test("a rescue gives no number twice, and lets what it lost be stored again", () => {
  const { bytes, accepted } = useClosedDatabase();
  const directory = join(useDirectory(), "data");
  mkdirSync(directory);
  writeFileSync(join(directory, "outbox.db"), bytes);
  const db = new DatabaseSync(join(directory, "outbox.db"));
  db.exec("UPDATE delivery SET body = 'damaged' WHERE seq = (SELECT max(seq) FROM delivery)");
  db.close();
  writeFileSync(join(directory, "damaged"), "");
  const store = openDamaged(directory);
  expect(store.damage).toMatch(/239 waiting deliveries were saved from it, 1 were damaged$/);
  const index = taskCount * perTask - 1;
  const key = `task-${index % taskCount}`;
  const lost = acceptOf(newReport("outcome", key, "again"), { requestId: `r${index}`, contentHash: "h" });
  const [result] = store.runAll([lost]) as [{ kind: string; row: DeliveryRow }];
  expect(result.kind).toBe("stored");
  expect(result.row.seq).toBeGreaterThan(accepted.size);
  store.close();
});

test("a rescue saves every row that is intact, when damage was found while serving", () => {
  const { bytes, accepted } = useClosedDatabase();
  const directory = join(useDirectory(), "data");
  mkdirSync(directory);
  // The mark that makes the next start save what can be read.
  writeFileSync(join(directory, "outbox.db"), bytes);
  writeFileSync(join(directory, "damaged"), "");
  const store = openDamaged(directory);
  expect(store.damage).toMatch(/240 waiting deliveries were saved from it, 0 were damaged$/);
  const sent = new Map<string, string[]>();
  sendAll(store, sent);
  expect(sent.size).toBe(accepted.size);
  store.close();
});

function zeroed(bytes: Buffer, page: number): Buffer {
  return Buffer.from(bytes).fill(0, Math.floor(page) * pageBytes, Math.floor(page + 1) * pageBytes);
}
