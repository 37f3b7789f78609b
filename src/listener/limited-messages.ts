import { type BodyLimits, pieceBytes, stalledError } from "./body-budget.ts";
import { createByteQueue } from "./byte-queue.ts";
import { headBytes } from "./frame-writer.ts";

/**
 * Passes the body of a stream of messages on. What has come of a message that is not
 * whole is within the budget, and the rest must come until `timeoutMs` have passed;
 * otherwise it throws what the caller is to be told. What comes in small pieces is passed
 * on in large ones, as far as no message waits for it.
 */
export async function* limitedMessages(
  body: AsyncIterable<Uint8Array>,
  { budget, timeoutMs, maxMessageBytes }: BodyLimits,
): AsyncGenerator<Uint8Array, void, undefined> {
  const iterator = body[Symbol.asyncIterator]();
  const message = createMessageProgress();
  const queue = createByteQueue();
  let held = 0;
  let endMs = 0;
  try {
    for (;;) {
      const isPartial = message.heldBytes > 0;
      const result = await (isPartial ? within(iterator.next(), endMs - performance.now()) : iterator.next());
      if (result.done === true) {
        if (queue.size > 0) {
          yield queue.take(queue.size);
        }
        return;
      }
      const startedAnother = message.add(result.value);
      queue.add(Buffer.from(result.value.buffer, result.value.byteOffset, result.value.length));
      if (!isPartial || startedAnother) {
        endMs = performance.now() + timeoutMs;
      }
      budget.give(held);
      held = 0;
      if (!budget.take(message.heldBytes)) {
        throw budget.full;
      }
      held = message.heldBytes;
      // What is too large is refused by its first bytes.
      if (startedAnother || queue.size >= pieceBytes || message.missingBytes > maxMessageBytes) {
        yield queue.take(queue.size);
      }
    }
  } finally {
    budget.give(held);
  }
}

interface MessageProgress {
  /** How much of a message has come that is not whole yet. */
  readonly heldBytes: number;
  /** How much of it, or of its head, is still to come. */
  readonly missingBytes: number;
  /** Takes what has come next. Returns whether the last message began in it. */
  add(chunk: Uint8Array): boolean;
}

function createMessageProgress(): MessageProgress {
  const head = Buffer.alloc(headBytes);
  let heldBytes = 0;
  let missingBytes = headBytes;
  return {
    get heldBytes() {
      return heldBytes;
    },
    get missingBytes() {
      return missingBytes;
    },
    add(chunk) {
      let hasEnded = false;
      for (let at = 0; at < chunk.length; ) {
        const count = Math.min(missingBytes, chunk.length - at);
        if (heldBytes < headBytes) {
          head.set(chunk.subarray(at, at + count), heldBytes);
        }
        at += count;
        heldBytes += count;
        missingBytes -= count;
        if (missingBytes === 0 && heldBytes === headBytes) {
          missingBytes = head.readUInt32BE(1);
        }
        if (missingBytes === 0) {
          hasEnded = true;
          heldBytes = 0;
          missingBytes = headBytes;
        }
      }
      return hasEnded;
    },
  };
}

async function within<Value>(promise: Promise<Value>, timeoutMs: number): Promise<Value> {
  // When the time is over first, nobody waits for this one any more.
  promise.catch(() => undefined);
  let timer: NodeJS.Timeout | undefined;
  const stalled = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(stalledError()), Math.max(0, timeoutMs));
  });
  try {
    return await Promise.race([promise, stalled]);
  } finally {
    clearTimeout(timer);
  }
}
