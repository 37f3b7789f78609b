import { expect, test } from "vitest";
import { passSignals } from "../../src/run/pass-signals.ts";

function usePassing(isInForeground: boolean) {
  const said: string[] = [];
  let send: (signal: NodeJS.Signals) => void = () => undefined;
  const passing = passSignals({
    onSignal: (listener) => {
      send = listener;
    },
    isInForeground: () => isInForeground,
    tell: (line) => said.push(line),
    kill: (signal) => said.push(signal),
  });
  return { said, passing, send: (...signals: NodeJS.Signals[]) => signals.map((signal) => send(signal)) };
}

const all = ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"] as const;

test("all signals are passed on", () => {
  const { said, send } = usePassing(false);
  send(...all);
  expect(said).toEqual(all);
});

test("those that a terminal has sent to the command, too, are not", () => {
  const { said, send } = usePassing(true);
  send(...all);
  expect(said).toEqual(["SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"]);
});

test("once the command is over the second one gives up, and those of users mean nothing", () => {
  const { said, send, passing } = usePassing(false);
  passing.stop();
  send("SIGUSR1", "SIGINT", "SIGUSR2");
  expect(said).toEqual(["SIGINT: the outcome is still being reported; another signal gives up"]);
  expect(passing.givenUp.aborted).toBe(false);
  send("SIGTERM");
  expect(passing.givenUp.aborted).toBe(true);
});
