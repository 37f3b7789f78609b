import { chmodSync, cpSync, existsSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, onTestFinished, test } from "vitest";
import { type OpenedStore, openStore } from "../../src/outbox/open-store.ts";
import type { ClaimResult, DeliveryRow } from "../../src/outbox/store.ts";
import { useDirectory } from "../support/use-directory.ts";
import { acceptOf, ampleQuota, newReport, startMs } from "./use-store.ts";

function open(directory: string, { nowMs = startMs, isVisit = false } = {}): OpenedStore {
  return openStore({ directory, synchronous: "FULL", quota: ampleQuota, nowMs, isVisit });
}

function useOpenStore(directory: string): OpenedStore {
  const store = open(directory);
  onTestFinished(() => {
    try {
      store.close();
    } catch {
      // The test has closed it.
    }
  });
  return store;
}

const claimAll = {
  type: "claim",
  lane: "orchestra",
  limit: 100,
  // What may have been sent before is left alone for a while.
  nowMs: startMs + 60_000,
  maxDelayMs: 300_000,
  supersede: false,
} as const;

function bodies(store: OpenedStore): string[] {
  const [result] = store.runAll([claimAll]);
  return (result as ClaimResult).claimed.map(({ body }) => body);
}

const mode = (path: string) => statSync(path).mode & 0o777;

describe("the files", () => {
  test("can be read by their owner alone, whatever the umask", () => {
    const umask = process.umask(0);
    onTestFinished(() => void process.umask(umask));
    const directory = join(useDirectory(), "made", "here");
    const store = useOpenStore(directory);
    store.runAll([acceptOf(newReport("status", "a", "x"))]);
    expect(mode(directory)).toBe(0o700);
    const modes = readdirSync(directory).map((name) => [name, mode(join(directory, name)).toString(8)]);
    expect(Object.fromEntries(modes)).toEqual({ "outbox.db": "600", "outbox.db-wal": "600", ballast: "600" });
  });

  test("are the database alone, once it was closed", () => {
    const directory = useDirectory();
    open(directory).close();
    expect(readdirSync(directory).sort()).toEqual(["ballast", "outbox.db"]);
  });
});

describe("a directory", () => {
  test("is one store's alone", () => {
    const directory = useDirectory();
    const first = useOpenStore(directory);
    expect(() => open(directory)).toThrow(/is in use by another gateway/);
    first.runAll([acceptOf(newReport("status", "a", "x"))]);
    first.close();
    const next = useOpenStore(directory);
    expect(bodies(next)).toEqual(["x"]);
  });

  test("with a store of a newer version is refused, and nothing in it changes", () => {
    const directory = useDirectory();
    open(directory).close();
    const db = new DatabaseSync(join(directory, "outbox.db"));
    db.exec("PRAGMA user_version = 99; UPDATE meta SET value = '99' WHERE name = 'schema'");
    db.close();
    expect(() => open(directory)).toThrow(/schema version 99/);
    expect(readdirSync(directory).filter((name) => name.includes("damaged"))).toEqual([]);
  });

  test.skipIf(process.getuid?.() === 0)("that cannot be written is refused", () => {
    const directory = useDirectory();
    chmodSync(directory, 0o500);
    expect(() => open(directory)).toThrow();
  });
});

describe("the last stop", () => {
  test("was clean after closing, and unclean without", () => {
    const directory = useDirectory();
    const first = open(directory);
    expect([first.wasUnclean, first.damage]).toEqual([false, undefined]);
    first.close();
    expect(existsSync(join(directory, "outbox.db-wal"))).toBe(false);
    const second = open(directory);
    expect(second.wasUnclean).toBe(false);
    second.close();
    const db = new DatabaseSync(join(directory, "outbox.db"));
    db.exec("UPDATE meta SET value = '1' WHERE name = 'open'");
    db.close();
    expect(useOpenStore(directory).wasUnclean).toBe(true);
  });

  test("that was unclean is still so until somebody has read all of it", () => {
    const directory = useDirectory();
    open(directory, { isVisit: true }).close();
    const crashed = open(directory);
    expect(crashed.wasUnclean).toBe(false);
    crashed.runAll([acceptOf(newReport("status", "a", "x")), acceptOf(newReport("status", "b", "y"))]);
    const copy = useDirectory();
    // As a crash leaves it.
    cpSync(directory, copy, { recursive: true });
    const visit = open(copy, { isVisit: true });
    expect(visit.wasUnclean).toBe(true);
    visit.close();
    const cutOff = open(copy);
    expect(cutOff.wasUnclean).toBe(true);
    cutOff.runAll([{ type: "verify", afterSeq: 0, limit: 1 }]);
    cutOff.close();
    const next = open(copy);
    expect(next.wasUnclean).toBe(true);
    next.runAll([{ type: "verify", afterSeq: 2, limit: 1 }]);
    next.close();
    expect(useOpenStore(copy).wasUnclean).toBe(false);
  });
});

describe("damage", () => {
  test("of the whole file is told, and the store begins anew beside it", () => {
    const directory = useDirectory();
    writeFileSync(join(directory, "outbox.db"), "this is no database, ".repeat(1000));
    const store = useOpenStore(directory);
    expect(store.damage).toMatch(/the database was damaged and is now .*outbox\.db\.damaged-/);
    expect(bodies(store)).toEqual([]);
    store.runAll([acceptOf(newReport("status", "a", "x"))]);
    expect(bodies(store)).toEqual(["x"]);
    expect(readdirSync(directory).some((name) => name.startsWith("outbox.db.damaged-"))).toBe(true);
  });

  test("that a visit has met is told to every other one, until one serves", () => {
    const directory = useDirectory();
    writeFileSync(join(directory, "outbox.db"), "this is no database, ".repeat(1000));
    const told = ["first visit", "second visit", "one who serves", "the next"].map((who) => {
      const store = open(directory, { isVisit: who.endsWith("visit") });
      store.close();
      return [store.damage?.slice(0, 24), store.wasUnclean];
    });
    const damage = "the database was damaged";
    expect(told).toEqual([
      [damage, false],
      [damage, false],
      [damage, false],
      [undefined, false],
    ]);
  });

  test("found while serving leads to a rescue at the next start", () => {
    const directory = useDirectory();
    const store = open(directory);
    store.runAll([acceptOf(newReport("status", "a", "x"))]);
    const corrupt = Object.assign(new Error("database disk image is malformed"), { errcode: 11 });
    expect(store.isFatal(corrupt)).toBe(true);
    store.close();
    const next = open(directory);
    expect(next.damage).toMatch(/1 waiting deliveries were saved from it, 0 were damaged$/);
    expect(bodies(next)).toEqual(["x"]);
    next.close();
    expect(useOpenStore(directory).damage).toBeUndefined();
  });

  test.for([
    [10, true],
    [10 | (4 << 8), true],
    [11, true],
    [26, true],
    [13, false],
    [19, false],
    [1, false],
  ] as const)("an error with the code %i is fatal: %s", ([errcode, isFatal]) => {
    const store = useOpenStore(useDirectory());
    expect(store.isFatal(Object.assign(new Error("x"), { errcode }))).toBe(isFatal);
    expect(store.isFatal(new Error("x"))).toBe(false);
  });

  test("a rescue keeps the request ids, the outcomes and the ids of deliveries", () => {
    const directory = useDirectory();
    const store = open(directory);
    const [accepted] = store.runAll([
      acceptOf(newReport("outcome", "a", "done"), { requestId: "r", contentHash: "h" }),
      acceptOf(newReport("log", "a", "log")),
    ]) as unknown as [{ row: DeliveryRow }];
    store.isFatal(Object.assign(new Error("malformed"), { errcode: 11 }));
    store.close();
    const next = useOpenStore(directory);
    const known = { kind: "known", row: { id: accepted.row.id } };
    const [byRequest, byOutcome, conflict] = next.runAll([
      acceptOf(newReport("outcome", "a", "done"), { requestId: "r", contentHash: "h" }),
      acceptOf(newReport("outcome", "a", "done")),
      acceptOf(newReport("outcome", "a", "failed")),
    ]);
    expect([byRequest, byOutcome]).toMatchObject([known, known]);
    expect(conflict).toMatchObject({ kind: "refused" });
    expect(bodies(next)).toEqual(["done"]);
  });
});
