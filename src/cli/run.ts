import { randomUUID } from "node:crypto";
import { write } from "node:fs";
import { promisify } from "node:util";
import { type GatewayAddress, parseRunConfig } from "../config/parse-run-config.ts";
import { runSettings } from "../config/run-settings.ts";
import { flagName } from "../config/setting.ts";
import { defaultLimits } from "../model/limits.ts";
import { isLocalAddress } from "../model/listen-address.ts";
import { startChild } from "../run/child-process.ts";
import type { Clock } from "../run/clock.ts";
import { createOutputSink } from "../run/output-sink.ts";
import { supervise } from "../run/supervise.ts";
import { isInForeground } from "../run/terminal.ts";
import { type CliContext, exitCodes } from "./cli-context.ts";
import { readFlags } from "./read-flags.ts";

const usage = `usage: taskgate run [--SETTING VALUE ...] -- COMMAND [ARGS]
`;

const signals = ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"] as const;

const clock: Clock = {
  nowMs: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted === true) {
        resolve();
        return;
      }
      function end(): void {
        clearTimeout(timer);
        signal?.removeEventListener("abort", end);
        resolve();
      }
      const timer = setTimeout(end, ms);
      signal?.addEventListener("abort", end);
    }),
};

/**
 * `taskgate run -- COMMAND`: runs a command, reports it, and ends with its exit
 * code. A wrong command line is an error before the command runs; nothing else
 * keeps it from running.
 */
export async function runRun(context: CliContext): Promise<number> {
  const split = context.args.indexOf("--");
  const [command, ...args] = split < 0 ? [] : context.args.slice(split + 1);
  if (command === undefined) {
    context.printError(usage);
    return exitCodes.usage;
  }
  const flags = rightFlags(context, context.args.slice(0, split));
  if (flags === undefined) {
    return exitCodes.usage;
  }
  const writeSome = promisify(write);
  const [stdout, stderr] = [1, 2].map((fd) =>
    createOutputSink(async (bytes) => (await writeSome(fd, bytes)).bytesWritten, clock),
  ) as [ReturnType<typeof createOutputSink>, ReturnType<typeof createOutputSink>];
  const tell = (line: string) => stderr.say(`taskgate: ${line}`);

  const { env, readFile } = context;
  const parsed = parseRunConfig({ env, flags, readFile });
  const config = "config" in parsed ? parsed.config : undefined;
  if ("problems" in parsed) {
    parsed.problems.forEach(tell);
    tell("THE COMMAND RUNS, AND NOTHING OF IT IS REPORTED");
  }
  if (config?.token !== undefined && isPlainRemote(config.gateway)) {
    tell("the token goes to the gateway unencrypted: use https");
  }
  let close: () => void = () => undefined;
  try {
    return await supervise(
      {
        command,
        args,
        env,
        onCancel: config?.onCancel ?? "ignore",
        messagesMs: config?.messagesMs,
        logName: config?.logName,
        maxLogBytes: defaultLimits.maxLogBytes,
      },
      {
        clock,
        startChild,
        startReporter:
          config &&
          (async (onCancel) => {
            // Loaded while the command is at work.
            const { connectReporter } = await import("./connect-reporter.ts");
            const connected = connectReporter(config, {
              clock,
              random: Math.random,
              runId: randomUUID(),
              tell,
              onCancel,
            });
            close = connected.close;
            return connected.reporter;
          }),
        stdout,
        stderr,
        tell,
        onSignal: (listener) => context.onSignal(listener, signals),
        isInForeground,
        makeTemporaryDirectory: context.makeTemporaryDirectory,
      },
    );
  } finally {
    close();
    await stdout.flushed();
    await stderr.flushed();
  }
}

/** The flags, or undefined when they are wrong by themselves, which is told. */
function rightFlags(
  context: CliContext,
  args: readonly string[],
): Readonly<Record<string, string>> | undefined {
  const names = Object.entries(runSettings).map(([name, setting]) => flagName(name, setting));
  const { flags, positionals, problems } = readFlags(args, names);
  const unexpected = problems.length > 0 ? [] : positionals.slice(0, 1);
  const result = parseRunConfig({ env: {}, flags, readFile: context.readFile });
  const all = [
    ...problems,
    ...unexpected.map((word) => `${word} is not expected here`),
    ...("problems" in result ? result.problems : []),
  ];
  for (const problem of all) {
    context.printError(`taskgate: ${problem}\n`);
  }
  return all.length === 0 ? flags : undefined;
}

function isPlainRemote(gateway: GatewayAddress): boolean {
  if (gateway.kind !== "url" || !gateway.url.startsWith("http:")) {
    return false;
  }
  const { hostname } = new URL(gateway.url);
  return !isLocalAddress({ kind: "tcp", host: hostname.replace(/^\[|\]$/g, ""), port: 0 });
}
