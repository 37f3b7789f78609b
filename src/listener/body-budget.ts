import { Code, ConnectError } from "@connectrpc/connect";

/**
 * How many bytes of unfinished request bodies may be held, over all connections:
 * each is limited by itself, and there may be very many.
 */
export interface BodyBudget {
  /** Takes room for bytes; false: there is none. */
  take(bytes: number): boolean;
  give(bytes: number): void;
}

/** Creates a budget. */
export function createBodyBudget(maxBytes: number): BodyBudget {
  let held = 0;
  return {
    take(bytes) {
      held += bytes;
      if (held > maxBytes) {
        held -= bytes;
        return false;
      }
      return true;
    },
    give(bytes) {
      held -= bytes;
    },
  };
}

/** The error for a body that finds no room. */
export function noRoomError(): ConnectError {
  return new ConnectError("too many request bodies are under way", Code.ResourceExhausted);
}

/** The error for a body that did not come in time. */
export function stalledError(): ConnectError {
  return new ConnectError("the request did not arrive in time", Code.DeadlineExceeded);
}

/**
 * Passes the body of a unary request on, within the budget and until `timeoutMs`
 * have passed; then it throws what the caller is to be told.
 */
export async function* limitedBody(
  body: AsyncIterable<Uint8Array>,
  budget: BodyBudget,
  timeoutMs: number,
): AsyncGenerator<Uint8Array, void, undefined> {
  const iterator = body[Symbol.asyncIterator]();
  const stalled = Promise.withResolvers<never>();
  stalled.promise.catch(() => undefined);
  const timer = setTimeout(() => stalled.reject(stalledError()), timeoutMs);
  let held = 0;
  try {
    for (;;) {
      const next = iterator.next();
      // When the time is over first, nobody waits for this one any more.
      next.catch(() => undefined);
      const result = await Promise.race([next, stalled.promise]);
      if (result.done === true) {
        return;
      }
      if (!budget.take(result.value.length)) {
        throw noRoomError();
      }
      held += result.value.length;
      yield result.value;
    }
  } finally {
    clearTimeout(timer);
    budget.give(held);
  }
}
