import type { WorkResult } from "./work-options.ts";

/** Counts and times what workers do. */
export interface WorkMeter {
  /** So many tasks come next. */
  expect(tasks: number): void;
  /** Tasks are expected that are not yet done. */
  readonly isOn: boolean;
  /** A worker has a task, which became ready then by the wall clock. */
  begin(readyMs: number): void;
  /** A worker has ended one. */
  end(): void;
}

/** Creates a meter that says how it went when all that it expects is done. */
export function createWorkMeter(onDone: (result: WorkResult) => void): WorkMeter {
  let waitsMs: number[] = [];
  let left = 0;
  return {
    expect(tasks) {
      waitsMs = [];
      left = tasks;
    },
    get isOn() {
      return left > 0;
    },
    begin(readyMs) {
      waitsMs.push(Date.now() - readyMs);
    },
    end() {
      left -= 1;
      if (left === 0) {
        onDone({ waitsMs });
      }
    },
  };
}
