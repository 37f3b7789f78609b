import { expect, test, vi } from "vitest";
import { createAbortCalls } from "../../src/upstream/abort-calls.ts";

test("all calls of a signal share one listener, which is gone with the last of them", () => {
  const calls = createAbortCalls();
  const { signal } = new AbortController();
  const added = vi.spyOn(signal, "addEventListener");
  const removed = vi.spyOn(signal, "removeEventListener");
  const onAborts = Array.from({ length: 3 }, () => vi.fn());
  for (const onAbort of onAborts) {
    calls.add(signal, onAbort);
  }
  expect(added).toHaveBeenCalledOnce();
  const [first, ...others] = onAborts;
  for (const onAbort of others) {
    calls.remove(signal, onAbort);
  }
  expect(removed).not.toHaveBeenCalled();
  calls.remove(signal, first as () => void);
  expect(removed.mock.calls).toEqual([["abort", added.mock.calls[0]?.[1]]]);
});

test("an abort calls all that were not removed, each once, also those that remove themselves", () => {
  const calls = createAbortCalls();
  const controller = new AbortController();
  const called: string[] = [];
  const onAborts = ["a", "b", "c", "d"].map((name) => {
    const onAbort = () => {
      called.push(name);
      calls.remove(controller.signal, onAbort);
    };
    calls.add(controller.signal, onAbort);
    return onAbort;
  });
  calls.remove(controller.signal, onAborts[1] as () => void);
  controller.abort();
  expect(called.sort()).toEqual(["a", "c", "d"]);
});

test("signals know nothing of each other", () => {
  const calls = createAbortCalls();
  const [one, other] = [new AbortController(), new AbortController()];
  const onAbort = vi.fn();
  calls.add(one.signal, onAbort);
  calls.remove(other.signal, onAbort);
  other.abort();
  expect(onAbort).not.toHaveBeenCalled();
  one.abort();
  expect(onAbort).toHaveBeenCalledOnce();
});
