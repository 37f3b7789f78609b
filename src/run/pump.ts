import type { Readable } from "node:stream";
import type { Clock } from "./clock.ts";
import type { OutputSink } from "./output-sink.ts";

/** Carries one output of a command on. */
export interface Pump {
  /** Resolves when the output has ended, nobody reads it any more, or it was stopped. */
  ended: Promise<void>;
  /** How much was read so far. */
  readBytes: () => number;
  /** Something that was read is not written yet. */
  isWriting: () => boolean;
  /** Reads no more. */
  stop: () => void;
}

/** Carries everything from a stream to a sink, unchanged and no faster than the sink takes it. */
export function startPump(source: Readable, sink: OutputSink, onChunk: (chunk: Buffer) => void): Pump {
  let readBytes = 0;
  let isWriting = false;
  async function carry(): Promise<void> {
    try {
      for await (const chunk of source as AsyncIterable<Buffer>) {
        readBytes += chunk.length;
        isWriting = true;
        onChunk(chunk);
        if (!(await sink.write(chunk))) {
          // The command is to learn of it as if it wrote there itself: by SIGPIPE.
          break;
        }
        isWriting = false;
      }
    } catch {
      // Stopped, or a pipe that broke: either way there is no more.
    }
    isWriting = false;
  }
  return {
    ended: carry(),
    readBytes: () => readBytes,
    isWriting: () => isWriting,
    stop: () => source.destroy(),
  };
}

/**
 * Waits, once a command is over, until what it has printed is written. Its pipes
 * may stay open, because processes that it left behind hold them: then that is when
 * they are empty. What those print later is not read.
 *
 * @param signal waits no longer
 */
export async function drainPumps(pumps: readonly Pump[], clock: Clock, signal: AbortSignal): Promise<void> {
  const done = new AbortController();
  void Promise.all(pumps.map((pump) => pump.ended)).then(() => done.abort());
  const over = AbortSignal.any([done.signal, signal]);
  const before = pumps.map((pump) => pump.readBytes());
  const startMs = clock.nowMs();
  let quietTicks = 0;
  let seenBytes = -1;
  while (!over.aborted && quietTicks < 2) {
    await clock.sleep(tickMs, over);
    const isWriting = pumps.some((pump) => pump.isWriting());
    const bytes = pumps.reduce((sum, pump) => sum + pump.readBytes(), 0);
    quietTicks = !isWriting && bytes === seenBytes ? quietTicks + 1 : 0;
    seenBytes = bytes;
    // More than a pipe can have held comes from those who were left behind.
    const isTheirs = pumps.some((pump, index) => pump.readBytes() - (before[index] ?? 0) > maxPipeBytes);
    if (clock.nowMs() - startMs > maxDrainMs && (isTheirs || !isWriting)) {
      break;
    }
  }
  for (const pump of pumps) {
    pump.stop();
  }
}

const tickMs = 50;
const maxDrainMs = 2000;
const maxPipeBytes = 1024 * 1024;
