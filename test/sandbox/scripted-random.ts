import type { Random } from "../../src/sandbox/ids.ts";

export interface ScriptedRandom {
  readonly random: Random;
  /** The next numbers to come; after them it goes on as before. */
  script(...numbers: number[]): void;
}

/** Numbers in [0, 1) that are the same in every run. */
export function createScriptedRandom(): ScriptedRandom {
  let state = 1;
  const scripted: number[] = [];
  return {
    random() {
      // The generator of "Numerical Recipes".
      state = (1664525 * state + 1013904223) % 2 ** 32;
      return scripted.shift() ?? state / 2 ** 32;
    },
    script: (...numbers) => void scripted.push(...numbers),
  };
}
