/** Sends one thing at a time, of which only the latest counts. */
export interface LatestSender<Item, Result> {
  /**
   * Sends the item when it is its turn. Resolves with what came of it, or with
   * undefined when another one has replaced it.
   */
  offer(item: Item): Promise<Result | undefined>;
  /** Sends what waits now, and waits until nothing is under way, at most `timeoutMs`. */
  flush(timeoutMs: number): Promise<void>;
  /** Sends nothing more. */
  stop(): void;
}

export interface LatestSenderOptions<Item, Result> {
  /** How long there is between two. */
  intervalMs: number;
  setTimer: (run: () => void, delayMs: number) => () => void;
  send: (item: Item) => Promise<Result>;
}

/** Creates a sender: the first item leaves at once, those behind it in intervals, the latest wins. */
export function createLatestSender<Item, Result>(
  options: LatestSenderOptions<Item, Result>,
): LatestSender<Item, Result> {
  const { intervalMs, setTimer } = options;
  let waiting: { item: Item; turn: PromiseWithResolvers<Result | undefined> } | undefined;
  let underWay: Promise<unknown> | undefined;
  let cancelTimer: (() => void) | undefined;
  let isStopped = false;

  function sendNext(): void {
    cancelTimer?.();
    cancelTimer = undefined;
    if (waiting === undefined || underWay !== undefined || isStopped) {
      return;
    }
    const { item, turn } = waiting;
    waiting = undefined;
    const sent = options.send(item);
    underWay = sent.then(rest, rest);
    turn.resolve(sent);
  }

  function rest(): void {
    underWay = undefined;
    if (!isStopped) {
      cancelTimer = setTimer(sendNext, intervalMs);
    }
  }

  return {
    offer(item) {
      waiting?.turn.resolve(undefined);
      const turn = Promise.withResolvers<Result | undefined>();
      waiting = { item, turn };
      if (isStopped) {
        turn.resolve(undefined);
      } else if (cancelTimer === undefined) {
        sendNext();
      }
      return turn.promise;
    },

    async flush(timeoutMs) {
      const isOver = Promise.withResolvers<void>();
      const cancel = setTimer(isOver.resolve, timeoutMs);
      const quiet = (async () => {
        while (underWay !== undefined || (waiting !== undefined && !isStopped)) {
          sendNext();
          await underWay;
        }
      })();
      await Promise.race([quiet, isOver.promise]);
      cancel();
    },

    stop() {
      isStopped = true;
      cancelTimer?.();
      waiting?.turn.resolve(undefined);
      waiting = undefined;
    },
  };
}
