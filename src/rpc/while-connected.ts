/**
 * Passes on what comes from a request stream, until it ends or one of the signals
 * aborts. A plain `for await` over the requests is freed by neither: it waits for
 * a frame that never comes.
 */
export async function* whileConnected<Item>(
  requests: AsyncIterable<Item>,
  ...signals: readonly AbortSignal[]
): AsyncGenerator<Item, void, undefined> {
  const iterator = requests[Symbol.asyncIterator]();
  const { promise: ended, resolve: end } = Promise.withResolvers<undefined>();
  const onAbort = () => end(undefined);
  for (const signal of signals) {
    signal.addEventListener("abort", onAbort, { once: true });
  }
  try {
    while (!signals.some((signal) => signal.aborted)) {
      const next = iterator.next();
      // When a signal wins, nobody waits for this one any more.
      next.catch(() => undefined);
      const result = await Promise.race([next, ended]);
      if (result === undefined || result.done === true) {
        return;
      }
      yield result.value;
    }
  } finally {
    for (const signal of signals) {
      signal.removeEventListener("abort", onAbort);
    }
  }
}
