import { describe, expect, test, vi } from "vitest";
import { useFakeClock } from "../outbox/fake-clock.ts";
import { createRandom, intBetween } from "../torture/random.ts";
import { durationMs, taskNamed, terms, useLeaseBook } from "./use-lease-book.ts";

type CreateLeaseBook = typeof import("../../src/session/lease-book.ts")["createLeaseBook"];

const workers = 50;
const beatMs = durationMs / 3;
const lengthMs = 60 * durationMs;

/**
 * Lets workers beat for ten minutes, some of which fall silent, while the gateway is
 * stopped, restarted and its clock set. A beat that comes while it is away is lost; its
 * worker knows no better and beats again an interval later.
 */
async function simulate(seed: number, create?: CreateLeaseBook) {
  const random = createRandom(seed);
  const clock = useFakeClock();
  const making = create === undefined ? { clock } : { clock, create };
  let used = await useLeaseBook(making);
  const { store } = used;
  const said: { taskId: string; atMs: number }[] = [];
  let isAway = false;
  const backMs: number[] = [];
  const silent = new Map<string, number>();
  const beats = new Map<string, number>();

  function beat(name: string): void {
    if (!isAway) {
      beats.set(name, clock.steadyNow());
      void used.book.beat(taskNamed(name), terms, "");
    }
    if (!silent.has(name)) {
      clock.setTimer(() => beat(name), beatMs);
    }
  }
  for (let index = 0; index < workers; index += 1) {
    const name = `w${index}`;
    clock.setTimer(() => beat(name), random() * beatMs);
    if (index % 5 === 0) {
      clock.setTimer(() => silent.set(name, clock.steadyNow()), random() * lengthMs * 0.8 + beatMs);
    }
  }
  const collect = () => said.push(...used.lost.splice(0));
  while (clock.steadyNow() < lengthMs) {
    await clock.advance(intBetween(random, 500, 3 * durationMs));
    const chance = random();
    if (chance < 0.5) {
      isAway = true;
      clock.standStill(intBetween(random, 1100, 3 * durationMs));
      // Whatever was due meanwhile runs at once, and finds nobody.
      await clock.advance(0);
      isAway = false;
    } else if (chance < 0.6) {
      collect();
      used.book.stop();
      used = await useLeaseBook({ ...making, store });
    } else if (chance < 0.7) {
      clock.jump(intBetween(random, -3_600_000, 3_600_000));
    } else {
      continue;
    }
    backMs.push(clock.steadyNow());
  }
  await clock.advance(2 * durationMs);
  collect();
  // How long after its last beat, or after the gateway was back.
  const waitedMs = said.map(({ taskId, atMs }) => {
    const fromMs = Math.max(beats.get(taskId) ?? 0, ...backMs.filter((eachMs) => eachMs <= atMs));
    return atMs - fromMs;
  });
  return {
    falsely: said.filter(({ taskId }) => !silent.has(taskId)),
    missed: [...silent.keys()].filter((name) => !said.some(({ taskId }) => taskId === name)),
    twice: said.length - new Set(said.map(({ taskId }) => taskId)).size,
    early: waitedMs.filter((ms) => ms < durationMs),
    late: waitedMs.filter((ms) => ms > durationMs + 1000),
    silent: silent.size,
  };
}

const seeds = Array.from({ length: 20 }, (_, index) => index + 1);

describe("ten minutes of fifty workers and a gateway that is often away", () => {
  test.each(seeds)("nobody who beats is lost, and everybody who does not is, seed %d", async (seed) => {
    expect(await simulate(seed)).toEqual({
      falsely: [],
      missed: [],
      twice: 0,
      early: [],
      late: [],
      silent: workers / 5,
    });
  });

  test("and the same without notice of a pause is found out", async () => {
    vi.resetModules();
    vi.doMock("../../src/session/pause-detector.ts", () => ({
      createPauseDetector: () => ({ wasPaused: () => false }),
    }));
    const { createLeaseBook } = await import("../../src/session/lease-book.ts");
    vi.doUnmock("../../src/session/pause-detector.ts");
    const results = await Promise.all(seeds.map((seed) => simulate(seed, createLeaseBook)));
    expect(results.flatMap(({ falsely }) => falsely).length).toBeGreaterThan(seeds.length);
  });
});
