import type { Verdict } from "./judge.ts";
import type { Random } from "./random.ts";

/** What a scenario is given. */
export interface Context {
  random: Random;
  /** A directory that is removed at the end. */
  directory(): string;
  /** Is called at the end, the last one first, whatever happened. */
  defer(end: () => unknown): void;
  /** Tells a person how far it is. */
  note(text: string): void;
}

/** One proof: a run that must hold, and a run with the safeguard off that must not. */
export interface Scenario {
  /** What is beyond it is a hang. */
  timeoutMs: number;
  run(context: Context): Promise<Verdict>;
  /** The safeguard is off: the judge must object. */
  control(context: Context): Promise<Verdict>;
  /** Why it cannot be had on this machine; undefined: it can. */
  skipped?(): string | undefined;
}

/** Runs something with a context of its own, and cleans up behind it. Rejects when the time is over. */
export async function withContext<Result>(
  options: { random: Random; timeoutMs: number; note: (text: string) => void; makeDirectory: () => string },
  run: (context: Context) => Promise<Result>,
): Promise<Result> {
  const ends: (() => unknown)[] = [];
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_, reject) => {
    const late = () => reject(new Error(`not done within ${options.timeoutMs / 1000} s`));
    timer = setTimeout(late, options.timeoutMs);
  });
  try {
    const context: Context = {
      random: options.random,
      directory: () => {
        const directory = options.makeDirectory();
        ends.push(() => removeDirectory(directory));
        return directory;
      },
      defer: (end) => ends.push(end),
      note: options.note,
    };
    return await Promise.race([run(context), timeout]);
  } finally {
    clearTimeout(timer);
    for (const end of ends.reverse()) {
      await end();
    }
  }
}

async function removeDirectory(directory: string): Promise<void> {
  const { rm } = await import("node:fs/promises");
  await rm(directory, { recursive: true, force: true });
}
