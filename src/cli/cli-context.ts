/** What a command may do to the process that it runs in. */
export interface CliContext {
  /** Arguments, without the program and the script. */
  args: readonly string[];
  env: Readonly<Record<string, string | undefined>>;
  /** Reads a file as text; throws when it cannot. */
  readFile: (path: string) => string;
  /** Makes or overwrites a file; throws when it cannot. */
  writeFile: (path: string, text: string) => void;
  /** Writes to standard output, for the user. */
  print: (text: string) => void;
  /** A person reads standard error as it is written. */
  isTerminal: boolean;
  /** Writes to standard error. */
  printError: (text: string) => void;
  /** Calls the listener with each of these signals. Default: those that ask the process to stop. */
  onSignal: (listener: (signal: NodeJS.Signals) => void, signals?: readonly NodeJS.Signals[]) => void;
  /** Makes a directory that is nobody else's. */
  makeTemporaryDirectory: () => { path: string; remove: () => void };
  /** The version of Node, as `24.22.3`. */
  nodeVersion: string;
  /** The wall clock, in milliseconds. */
  now: () => number;
  /** Ends the process at once. */
  exit: (code: number) => void;
}

/** What a process says by its exit code. */
export const exitCodes = {
  ok: 0,
  /** The gateway could not start, or its configuration is wrong. */
  startFailed: 1,
  /** `taskgate health`: the gateway is not as it was asked to be, or does not answer. */
  unhealthy: 1,
  /** There is no such command. */
  usage: 2,
  /** The gateway could not go on: its disk failed, or its store is damaged. */
  failed: 3,
  /** The gateway was stopped, and not everything that it has stored is delivered. */
  undelivered: 4,
  /** The gateway was asked twice to stop, and did at once. */
  stoppedAtOnce: 5,
} as const;
