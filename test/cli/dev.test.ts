import type { Worker } from "node:worker_threads";
import { expect, onTestFinished, test } from "vitest";
import type { CliContext } from "../../src/cli/cli-context.ts";
import { runDev } from "../../src/cli/dev.ts";
import { useDirectory } from "../support/use-directory.ts";

/** `taskgate dev` within this process, its log off, and the threads that it starts. */
async function useDev() {
  const threads: Worker[] = [];
  const onThread = (thread: Worker) => threads.push(thread);
  process.on("worker", onThread);
  onTestFinished(() => void process.off("worker", onThread));
  let stdout = "";
  let ask: (signal: NodeJS.Signals) => void = () => undefined;
  const context: CliContext = {
    args: ["--listen", "127.0.0.1:0", "--ops-listen", "off", "--log-level", "silent"],
    env: {},
    readFile: () => "",
    writeFile: () => undefined,
    nodeVersion: process.versions.node,
    now: Date.now,
    print: (text) => {
      stdout += text;
    },
    isTerminal: false,
    printError: (text) => {
      stdout += text;
    },
    onSignal: (listener) => {
      ask = listener;
    },
    exit: () => undefined,
    makeTemporaryDirectory: () => ({ path: useDirectory(), remove: () => undefined }),
  };
  const ended = runDev(context, { orchestra: 0, orchestrator: 0, aidbox: 0 });
  await expect.poll(() => stdout, { timeout: 10_000 }).toContain("stop it with Ctrl-C");
  return { ended, threads, askToStop: () => ask("SIGTERM") };
}

test("it ends with 0 when it is asked to", async () => {
  const { ended, askToStop } = await useDev();
  askToStop();
  expect(await ended).toBe(0);
});

test("it ends with 3 when its store fails", async () => {
  const { ended, threads } = await useDev();
  expect(threads).toHaveLength(1);
  await threads[0]?.terminate();
  expect(await ended).toBe(3);
});
