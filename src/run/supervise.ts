import { messageOf } from "../model/error-message.ts";
import { exitCodeOf, failureText } from "./child-end.ts";
import type { Child, ChildOptions } from "./child-process.ts";
import type { Clock } from "./clock.ts";
import { fileSize, makeOutputFile, type OutputFile, readOutputFile } from "./output-file.ts";
import { createOutputRecord } from "./output-record.ts";
import type { OutputSink } from "./output-sink.ts";
import { passSignals } from "./pass-signals.ts";
import { drainPumps, startPump } from "./pump.ts";
import type { Reporter } from "./reporter.ts";

/** What is wanted of a supervised command. */
export interface SuperviseOptions {
  command: string;
  args: readonly string[];
  env: Readonly<Record<string, string | undefined>>;
  onCancel: "terminate" | "ignore";
  /** At most one message in this time. Undefined: none. */
  messagesMs: number | undefined;
  /** Undefined: the output is not sent. */
  logName: string | undefined;
  /** How much of the output is kept for that. */
  maxLogBytes: number;
}

export interface SuperviseDeps {
  clock: Clock;
  startChild: (options: ChildOptions) => Child;
  /** Undefined: nothing is reported. The command runs already. */
  startReporter: ((onCancel: (cause: string) => void) => Promise<Reporter>) | undefined;
  stdout: OutputSink;
  stderr: OutputSink;
  tell: (line: string) => void;
  /** Calls back with each signal that we get from now on. */
  onSignal: (listener: (signal: NodeJS.Signals) => void) => void;
  /** A signal of the terminal has reached the command, too. */
  isInForeground: () => boolean;
  makeTemporaryDirectory: () => { path: string; remove: () => void };
}

/** Runs a command, tells the gateway of it, and returns the exit code. */
export async function supervise(options: SuperviseOptions, deps: SuperviseDeps): Promise<number> {
  const { command, args, env, messagesMs, logName } = options;
  const { clock, tell } = deps;
  const outputFile = await prepareOutputFile(env.TASKGATE_OUTPUT, deps);
  const record = createOutputRecord(logName === undefined ? undefined : options.maxLogBytes);

  // Before the command is there, so that none is missed.
  const signals = passSignals({ ...deps, kill: (signal) => child.kill(signal) });
  const child = deps.startChild({
    command,
    args,
    env: { ...env, TASKGATE_OUTPUT: outputFile.path },
    readsStdout: messagesMs !== undefined || logName !== undefined,
    pipeDirectory: outputFile.directory,
  });
  const pumps = [
    ...(child.stdout === undefined ? [] : [startPump(child.stdout, deps.stdout, record.addStdout)]),
    ...(child.stderr === undefined ? [] : [startPump(child.stderr, deps.stderr, record.addStderr)]),
  ];
  const reporter = await startReporter(deps, (cause) => {
    const isObeyed = options.onCancel === "terminate";
    const what = isObeyed ? "SIGTERM to the command" : "the command goes on";
    tell(`the gateway says to stop (${cause}): ${what}`);
    if (isObeyed) {
      child.kill("SIGTERM");
    }
  });
  signals.givenUp.addEventListener("abort", () => reporter?.giveUp());
  const ended = new AbortController();
  if (messagesMs !== undefined && reporter !== undefined) {
    void sendMessages(reporter, record.newestLine, messagesMs, ended.signal, clock);
  }

  const end = await child.ended;
  signals.stop();
  await drainPumps(pumps, clock, signals.givenUp);
  ended.abort();
  if (end.kind === "notStarted") {
    tell(failureText(end, command, ""));
  }
  const outputs = await outputFile.read();
  outputFile.remove();
  const exitCode = exitCodeOf(end);
  const said = messagesMs === undefined ? "" : record.lastLine();
  await reporter?.finish({
    outcome: {
      isSuccess: exitCode === 0,
      exitCode,
      message: failureText(end, command, record.lastErrorLine()) || said,
      lastLine: record.lastErrorLine(),
      output: record.kept,
    },
    outputs,
    log: record.kept && { name: logName ?? "", output: record.kept },
  });
  return exitCode;
}

async function sendMessages(
  reporter: Reporter,
  newestLine: () => string,
  everyMs: number,
  ended: AbortSignal,
  clock: Clock,
): Promise<void> {
  let sent = "";
  for (;;) {
    await clock.sleep(everyMs, ended);
    if (ended.aborted) {
      return;
    }
    const line = newestLine();
    if (line !== sent && line !== "") {
      sent = line;
      reporter.message(line);
    }
  }
}

interface PreparedOutputFile {
  /** Undefined: there is no place for one. */
  path: string | undefined;
  /** A place for our own files. */
  directory: string | undefined;
  read: () => Promise<OutputFile>;
  remove: () => void;
}

// What goes wrong here must not be the command's.
async function prepareOutputFile(
  given: string | undefined,
  { makeTemporaryDirectory, tell }: SuperviseDeps,
): Promise<PreparedOutputFile> {
  let directory: ReturnType<typeof makeTemporaryDirectory> | undefined;
  let path = given || undefined;
  try {
    directory = makeTemporaryDirectory();
    path ??= await makeOutputFile(directory.path);
  } catch (error) {
    tell(`no temporary file can be made${path === undefined ? " for outputs" : ""}: ${messageOf(error)}`);
  }
  const start = path === undefined ? 0 : await fileSize(path);
  return {
    path,
    directory: directory?.path,
    async read() {
      const file = path === undefined ? { outputs: [], problems: [] } : await readOutputFile(path, start);
      for (const problem of file.problems) {
        tell(`TASKGATE_OUTPUT: ${problem}`);
      }
      return file;
    },
    remove() {
      try {
        directory?.remove();
      } catch (error) {
        tell(`a temporary file is left behind: ${messageOf(error)}`);
      }
    },
  };
}

async function startReporter(
  deps: SuperviseDeps,
  onCancel: (cause: string) => void,
): Promise<Reporter | undefined> {
  try {
    return await deps.startReporter?.(onCancel);
  } catch (error) {
    deps.tell(`NOTHING OF THE COMMAND IS REPORTED: ${messageOf(error)}`);
    return undefined;
  }
}
