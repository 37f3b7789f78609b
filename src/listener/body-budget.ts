import { Code, ConnectError } from "@connectrpc/connect";
import { createByteQueue } from "./byte-queue.ts";

/** In pieces of at least so many bytes a body is passed on: each costs memory of its own. */
export const pieceBytes = 16 * 1024;

/**
 * How many bytes of unfinished request bodies may be held, over all connections:
 * each is limited by itself, and there may be very many.
 */
export interface BodyBudget {
  /** Takes room for bytes; false: there is none. */
  take(bytes: number): boolean;
  give(bytes: number): void;
  /** The error for a body that finds none. */
  readonly full: ConnectError;
}

/** Creates a budget. `full` is thrown as it is each time, as in `createCallPlaces`. */
export function createBodyBudget(maxBytes: number, full: ConnectError): BodyBudget {
  let held = 0;
  return {
    full,
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

/** The error for a body that did not come in time. */
export function stalledError(): ConnectError {
  return new ConnectError("the request did not arrive in time", Code.DeadlineExceeded);
}

/** What a body may use. */
export interface BodyLimits {
  budget: BodyBudget;
  timeoutMs: number;
  maxMessageBytes: number;
}

/**
 * Passes the body of a unary request on, within the budget and until `timeoutMs`
 * have passed; then it throws what the caller is to be told. What comes in small
 * pieces is passed on in large ones.
 */
export async function* limitedBody(
  body: AsyncIterable<Uint8Array>,
  { budget, timeoutMs, maxMessageBytes }: BodyLimits,
): AsyncGenerator<Uint8Array, void, undefined> {
  const iterator = body[Symbol.asyncIterator]();
  const stalled = Promise.withResolvers<never>();
  stalled.promise.catch(() => undefined);
  const timer = setTimeout(() => stalled.reject(stalledError()), timeoutMs);
  const queue = createByteQueue();
  let held = 0;
  try {
    for (;;) {
      const next = iterator.next();
      // When the time is over first, nobody waits for this one any more.
      next.catch(() => undefined);
      const result = await Promise.race([next, stalled.promise]);
      if (result.done !== true) {
        if (!budget.take(result.value.length)) {
          throw budget.full;
        }
        held += result.value.length;
        queue.add(Buffer.from(result.value.buffer, result.value.byteOffset, result.value.length));
      }
      if (queue.size > 0 && (result.done === true || queue.size >= Math.min(pieceBytes, maxMessageBytes))) {
        yield queue.take(queue.size);
      }
      if (result.done === true) {
        return;
      }
    }
  } finally {
    clearTimeout(timer);
    budget.give(held);
  }
}
