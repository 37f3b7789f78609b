/** Which signals are passed on to a command. */
export interface SignalPassing {
  /** The command is over: from now on signals are about the reporting. */
  stop: () => void;
  /** Aborts when somebody does not want to wait for the reporting. */
  givenUp: AbortSignal;
}

export interface SignalPassingDeps {
  /** Calls back with each signal that we get from now on. */
  onSignal: (listener: (signal: NodeJS.Signals) => void) => void;
  /** What is typed at a terminal reaches us, and the command with us. */
  isInForeground: () => boolean;
  tell: (line: string) => void;
  kill: (signal: NodeJS.Signals) => void;
}

// What a terminal sends to the whole process group.
const terminalSignals: readonly NodeJS.Signals[] = ["SIGINT", "SIGQUIT"];
const userSignals: readonly NodeJS.Signals[] = ["SIGUSR1", "SIGUSR2"];

/** Passes signals on to a command, but for those that have reached it by themselves. */
export function passSignals({ onSignal, isInForeground, tell, kill }: SignalPassingDeps): SignalPassing {
  const givenUp = new AbortController();
  let isOver = false;
  let isTold = false;
  onSignal((signal) => {
    if (!isOver) {
      if (!(terminalSignals.includes(signal) && isInForeground())) {
        kill(signal);
      }
    } else if (userSignals.includes(signal)) {
      return;
    } else if (isTold) {
      givenUp.abort();
    } else {
      // One that was sent to all of us may come a little late, and is not about this.
      isTold = true;
      tell(`${signal}: the outcome is still being reported; another signal gives up`);
    }
  });
  return {
    stop() {
      isOver = true;
    },
    givenUp: givenUp.signal,
  };
}
