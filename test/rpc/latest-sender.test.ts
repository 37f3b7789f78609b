import { expect, test } from "vitest";
import { createLatestSender } from "../../src/rpc/latest-sender.ts";
import { settle, useFakeClock } from "../outbox/fake-clock.ts";

function useSender() {
  const clock = useFakeClock();
  const sent: { item: string; atMs: number; done: PromiseWithResolvers<string> }[] = [];
  const sender = createLatestSender<string, string>({
    intervalMs: 1000,
    setTimer: clock.setTimer,
    send(item) {
      const done = Promise.withResolvers<string>();
      sent.push({ item, atMs: clock.steadyNow(), done });
      return done.promise;
    },
  });
  const finish = async (index: number) => {
    sent[index]?.done.resolve(`${sent[index]?.item} is sent`);
    await settle();
  };
  const items = () => sent.map(({ item }) => item);
  return { clock, sender, sent, items, finish };
}

test("the first leaves at once, and of those that come meanwhile the last one, an interval later", async () => {
  const { clock, sender, sent, items, finish } = useSender();
  const first = sender.offer("a");
  const replaced = [sender.offer("b"), sender.offer("c")];
  const last = sender.offer("d");
  expect(items()).toEqual(["a"]);
  expect(await Promise.all(replaced)).toEqual([undefined, undefined]);
  await clock.advance(5000);
  expect(items()).toEqual(["a"]);
  await finish(0);
  expect(await first).toBe("a is sent");
  await clock.advance(999);
  expect(items()).toEqual(["a"]);
  await clock.advance(1);
  expect(items()).toEqual(["a", "d"]);
  await finish(1);
  expect(await last).toBe("d is sent");
  expect(sent.map(({ atMs }) => atMs)).toEqual([0, 6000]);
});

test("one that comes after a quiet interval leaves at once", async () => {
  const { clock, sender, items, finish } = useSender();
  void sender.offer("a");
  await finish(0);
  void sender.offer("b");
  expect(items()).toEqual(["a"]);
  await clock.advance(1000);
  await finish(1);
  await clock.advance(1000);
  void sender.offer("c");
  expect(items()).toEqual(["a", "b", "c"]);
});

test("a flush sends what waits without waiting for its turn, and waits for its end", async () => {
  const { clock, sender, items, finish } = useSender();
  void sender.offer("a");
  const b = sender.offer("b");
  let isFlushed = false;
  const flushing = sender.flush(5000).then(() => {
    isFlushed = true;
  });
  await finish(0);
  expect([items(), isFlushed]).toEqual([["a", "b"], false]);
  await finish(1);
  await flushing;
  expect(await b).toBe("b is sent");
  expect(clock.steadyNow()).toBe(0);
});

test("a flush with nothing to send is over at once, and leaves no timer", async () => {
  const { clock, sender } = useSender();
  await sender.flush(5000);
  expect(clock.pending).toBe(0);
});

test("a flush waits no longer than it may", async () => {
  const { clock, sender, items } = useSender();
  void sender.offer("a");
  const flushing = sender.flush(5000);
  await clock.advance(5000);
  await flushing;
  expect(items()).toEqual(["a"]);
});

test("a failure is that of its item only", async () => {
  const { clock, sender, sent, items, finish } = useSender();
  const a = sender.offer("a");
  const b = sender.offer("b");
  sent[0]?.done.reject(new Error("refused"));
  await expect(a).rejects.toThrow("refused");
  await clock.advance(1000);
  expect(items()).toEqual(["a", "b"]);
  await finish(1);
  expect(await b).toBe("b is sent");
});

test("a flush gets over a failure", async () => {
  const { sender, sent, items, finish } = useSender();
  const a = sender.offer("a");
  void sender.offer("b");
  const flushing = sender.flush(5000);
  sent[0]?.done.reject(new Error("refused"));
  await expect(a).rejects.toThrow("refused");
  await settle();
  await finish(1);
  await flushing;
  expect(items()).toEqual(["a", "b"]);
});

test("once stopped it sends nothing more, and nobody waits for ever", async () => {
  const { clock, sender, items, finish } = useSender();
  const first = sender.offer("a");
  const waiting = sender.offer("b");
  sender.stop();
  expect(await waiting).toBeUndefined();
  expect(await sender.offer("c")).toBeUndefined();
  await finish(0);
  expect(await first).toBe("a is sent");
  await sender.flush(5000);
  await clock.advance(10_000);
  expect(items()).toEqual(["a"]);
  expect(clock.pending).toBe(0);
});
