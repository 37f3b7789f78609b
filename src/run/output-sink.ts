import type { Clock } from "./clock.ts";

/** One of the process's outputs. */
export interface OutputSink {
  /**
   * Writes all of it, behind what came before, and resolves when it is written:
   * whoever waits for that goes as fast as the reader does. Resolves to false when
   * nobody reads any more.
   */
  write: (bytes: Buffer) => Promise<boolean>;
  /** Writes a line of our own, on a line of its own. */
  say: (line: string) => void;
  /** Resolves when all that was asked for is written. */
  flushed: () => Promise<void>;
}

/**
 * Creates a sink.
 *
 * @param writeSome writes some of the bytes without holding up the process, and
 *   says how many; rejects as `fs.write` does
 */
export function createOutputSink(
  writeSome: (bytes: Buffer) => Promise<number>,
  clock: Pick<Clock, "sleep">,
): OutputSink {
  let last: Promise<unknown> = Promise.resolve();
  let isBroken = false;
  let isMidLine = false;

  async function writeAll(bytes: Buffer): Promise<void> {
    for (let rest = bytes; rest.length > 0 && !isBroken; ) {
      try {
        rest = rest.subarray(await writeSome(rest));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EAGAIN") {
          isBroken = true;
          return;
        }
        // Somebody who shares the pipe has made it one that does not wait.
        await clock.sleep(retryMs);
      }
    }
    isMidLine = bytes.at(-1) !== newline;
  }
  function enqueue(makeBytes: () => Buffer): Promise<boolean> {
    const written = last.then(() => writeAll(makeBytes())).then(() => !isBroken);
    last = written;
    return written;
  }
  return {
    write: (bytes) => enqueue(() => bytes),
    say(line) {
      void enqueue(() => Buffer.from(`${isMidLine ? "\n" : ""}${line}\n`));
    },
    async flushed() {
      await last;
    },
  };
}

const newline = 0x0a;
const retryMs = 10;
