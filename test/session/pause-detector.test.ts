import { expect, test } from "vitest";
import { createPauseDetector } from "../../src/session/pause-detector.ts";

function usePauses() {
  let steadyMs = 5;
  let wallMs = 1_000_000;
  const detector = createPauseDetector(
    () => steadyMs,
    () => wallMs,
  );
  return (steady: number, wall: number) => {
    steadyMs += steady;
    wallMs += wall;
    return detector.wasPaused();
  };
}

test.each([
  ["no time", 0, 0, false],
  ["what a timer takes", 250, 250, false],
  ["a hiccup", 1000, 1000, false],
  ["standing still", 1001, 1001, true],
  ["a suspended machine, for which the steady clock stood, too", 250, 60_000, true],
  ["a clock that is set forward", 250, 1251, true],
  ["a clock that is set back", 250, -751, true],
  ["a clock that is corrected a little", 250, 1250, false],
  ["and a little back", 250, -750, false],
])("%s: %d ms steady, %d ms on the wall", (_, steady, wall, isPause) => {
  expect(usePauses()(steady, wall)).toBe(isPause);
});

test("a pause is noticed once, and small differences do not add up", () => {
  const passes = usePauses();
  expect([passes(5000, 5000), passes(250, 250)]).toEqual([true, false]);
  expect([passes(250, -5000), passes(250, 250)]).toEqual([true, false]);
  // A clock that runs a tenth too fast.
  for (let count = 0; count < 100; count += 1) {
    expect(passes(250, 275)).toBe(false);
  }
});
