import { readdirSync } from "node:fs";
import { describe, expect, onTestFinished, test } from "vitest";
import type { AcceptResult, StoreOp } from "../../src/outbox/store.ts";
import { openWorkerStore, type WorkerStore } from "../../src/outbox/worker-store.ts";
import { useDirectory } from "../support/use-directory.ts";
import { acceptOf, ampleQuota, newReport, startMs } from "./use-store.ts";

async function useWorkerStore(directory: string, fatal: Error[] = []): Promise<WorkerStore> {
  const store = await openWorkerStore({
    directory,
    quota: ampleQuota,
    onFatal: (error) => fatal.push(error),
  });
  let isClosed = false;
  const { close } = store;
  onTestFinished(() => (isClosed ? undefined : close()));
  return Object.assign(store, {
    close: () => {
      isClosed = true;
      return close();
    },
  });
}

const broken = { type: "get" } as unknown as StoreOp;
const list = { type: "list", filter: {}, afterSeq: 0, limit: 10_000 } as const;

describe("many operations at once", () => {
  test("share commits: a thousand take less than a hundred times as long as one", async () => {
    const store = await useWorkerStore(useDirectory());
    const accept = (name: string) => store.run(acceptOf(newReport("status", name, "x")));
    await accept("first");
    const single: number[] = [];
    for (let one = 0; one < 5; one += 1) {
      const beganMs = performance.now();
      await accept(`single ${one}`);
      single.push(performance.now() - beganMs);
    }
    const beganMs = performance.now();
    await Promise.all(Array.from({ length: 1000 }, (_, index) => accept(`many ${index}`)));
    const manyMs = performance.now() - beganMs;
    // One commit each would take a thousand times as long as one.
    expect(manyMs).toBeLessThan(Math.max(200, 100 * Math.max(...single)));
  });

  test("take effect in the order of their calls", async () => {
    const store = await useWorkerStore(useDirectory());
    const results = await Promise.all([
      store.run(acceptOf(newReport("outcome", "a", "done"))),
      store.run(acceptOf(newReport("status", "a", "late"))),
      store.run(list),
      store.run({ type: "discard", seq: 1, nowMs: startMs }),
      store.run(acceptOf(newReport("status", "a", "again"))),
    ]);
    expect(results.map((result) => ("kind" in result ? result.kind : result.rows.length))).toEqual([
      "stored",
      "refused",
      1,
      "moved",
      "stored",
    ]);
  });

  test("fail alone: one that cannot be done takes no other with it", async () => {
    const fatal: Error[] = [];
    const store = await useWorkerStore(useDirectory(), fatal);
    const results = await Promise.allSettled([
      store.run(acceptOf(newReport("status", "a", "1"))),
      store.run(broken),
      store.run(acceptOf(newReport("status", "a", "2"))),
    ]);
    expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    expect((await store.run(list)).rows.map(({ seq }) => seq)).toEqual([1, 2]);
    expect(fatal).toEqual([]);
  });
});

describe("closing", () => {
  test("waits for what was asked before, and refuses what comes after", async () => {
    const directory = useDirectory();
    const store = await useWorkerStore(directory);
    const asked = Array.from({ length: 50 }, (_, index) =>
      store.run(acceptOf(newReport("status", `t${index}`, "x"))),
    );
    const closing = store.close();
    await expect(store.run(list)).rejects.toThrow("the store is closed");
    await closing;
    const results = (await Promise.all(asked)) as AcceptResult[];
    expect(results.every(({ kind }) => kind === "stored")).toBe(true);
    expect(readdirSync(directory).sort()).toEqual(["ballast", "outbox.db"]);
    const next = await useWorkerStore(directory);
    expect((await next.run(list)).rows).toHaveLength(50);
    expect(next.wasUnclean).toBe(false);
  });

  test("can be asked for twice", async () => {
    const store = await useWorkerStore(useDirectory());
    await Promise.all([store.close(), store.close()]);
  });
});

test("a directory is refused that another store has open", async () => {
  const directory = useDirectory();
  await useWorkerStore(directory);
  await expect(useWorkerStore(directory)).rejects.toThrow(/in use by another gateway/);
});

test("delivery ids of a store are the same after it was opened again", async () => {
  const directory = useDirectory();
  const store = await useWorkerStore(directory);
  const accepted = await store.run(acceptOf(newReport("status", "a", "x")));
  await store.close();
  const next = await useWorkerStore(directory);
  expect(next.salt).toBe(store.salt);
  expect(accepted).toMatchObject({ row: { id: (await next.run({ type: "get", seq: 1 }))?.id } });
});
