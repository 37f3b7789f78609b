import { describe, expect, test } from "vitest";
import { createKeyOrder } from "../../src/outbox/key-order.ts";

const settle = () => new Promise((resolve) => setImmediate(resolve));

/** Something that goes on until it is told to end. */
function useThing(log: string[], name: string) {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  return {
    end: () => resolve(name),
    fail: (error: Error) => reject(error),
    run: () => {
      log.push(`begin ${name}`);
      return promise.finally(() => log.push(`end ${name}`));
    },
  };
}

describe("things under one key", () => {
  test("are done one after the other, in the order in which they came", async () => {
    const log: string[] = [];
    const order = createKeyOrder();
    const things = ["a", "b", "c"].map((name) => useThing(log, name));
    const results = things.map(({ run }) => order.run("key", run));
    await settle();
    expect(log).toEqual(["begin a"]);
    for (const { end } of things) {
      end();
      await settle();
    }
    expect(log).toEqual(["begin a", "end a", "begin b", "end b", "begin c", "end c"]);
    await expect(Promise.all(results)).resolves.toEqual(["a", "b", "c"]);
  });

  test("begin at once when nothing is before them", () => {
    const log: string[] = [];
    void createKeyOrder().run("key", useThing(log, "a").run);
    expect(log).toEqual(["begin a"]);
  });

  test("go on after one that failed, and its failure is its own", async () => {
    const order = createKeyOrder();
    const first = order.run("key", () => Promise.reject(new Error("no")));
    const second = order.run("key", () => Promise.resolve("yes"));
    await expect(first).rejects.toThrow("no");
    await expect(second).resolves.toBe("yes");
  });

  test("are not done when they are given up before their turn, and the next one still waits for the first", async () => {
    const log: string[] = [];
    const order = createKeyOrder();
    const first = useThing(log, "first");
    const giveUp = new AbortController();
    const running = order.run("key", first.run);
    const given = order.run("key", useThing(log, "given up").run, giveUp.signal);
    const last = order.run("key", async () => void log.push("last"));
    giveUp.abort(new Error("the caller has gone"));
    await expect(given).rejects.toThrow("the caller has gone");
    expect(log).toEqual(["begin first"]);
    first.end();
    await Promise.all([running, last]);
    expect(log).toEqual(["begin first", "end first", "last"]);
  });

  test("are not disturbed by a signal once their turn has come", async () => {
    const order = createKeyOrder();
    const giveUp = new AbortController();
    const before = order.run("key", settle);
    const result = order.run(
      "key",
      async () => {
        await settle();
        giveUp.abort(new Error("too late"));
        await settle();
        return "done";
      },
      giveUp.signal,
    );
    await before;
    await expect(result).resolves.toBe("done");
  });
});

test("things under different keys do not wait for each other", async () => {
  const log: string[] = [];
  const order = createKeyOrder();
  void order.run("a", useThing(log, "a").run);
  await order.run("b", async () => void log.push("b"));
  expect(log).toEqual(["begin a", "b"]);
});
