import { createKeptOutput, type KeptOutput } from "./kept-output.ts";
import { createLastLine } from "./last-line.ts";

/** What a command prints, as far as it is told of. */
export interface OutputRecord {
  addStdout: (chunk: Buffer) => void;
  addStderr: (chunk: Buffer) => void;
  /** The last whole line of either; empty when there is none. */
  newestLine: () => string;
  /** The last line of either, once it is over. */
  lastLine: () => string;
  /** The last line of standard error, once it is over. */
  lastErrorLine: () => string;
  /** Both together; undefined: not kept. */
  kept: KeptOutput | undefined;
}

/** Creates a record that keeps this much of the output; undefined: none. */
export function createOutputRecord(maxLogBytes: number | undefined): OutputRecord {
  const all = createLastLine();
  const errors = createLastLine();
  const kept = maxLogBytes === undefined ? undefined : createKeptOutput(maxLogBytes);
  function addStdout(chunk: Buffer): void {
    all.append(chunk);
    kept?.append(chunk);
  }
  return {
    addStdout,
    addStderr(chunk) {
      errors.append(chunk);
      addStdout(chunk);
    },
    newestLine: () => all.get(false),
    lastLine: () => all.get(true),
    lastErrorLine: () => errors.get(true),
    kept,
  };
}
