import { Code, ConnectError } from "@connectrpc/connect";
import type { Compression } from "@connectrpc/connect/protocol";
import type { BodyBudget } from "./body-budget.ts";

// However small a message is, it may become as large as this.
const minExpandedBytes = 64 * 1024;
// They share four threads with the disk and DNS, and each may hold as much as the
// largest message.
const maxAtOnce = 2;

export interface CompressionBounds {
  /** How many times as large as it came a message may become. */
  maxExpansion: number;
  /** Holds what is being decompressed or waits for it, as it holds bodies that are not whole. */
  budget: BodyBudget;
}

/**
 * Creates a function that bounds what decompressing may cost: a message may become only
 * so many times as large as it came, and two are decompressed at once, over all codings
 * that it was called with, while the others wait.
 */
export function createBoundCompression({
  maxExpansion,
  budget,
}: CompressionBounds): (compression: Compression) => Compression {
  const waiting: (() => void)[] = [];
  let underWay = 0;

  async function enter(): Promise<void> {
    underWay += 1;
    if (underWay > maxAtOnce) {
      await new Promise<void>((resolve) => waiting.push(resolve));
    }
  }
  function leave(): void {
    underWay -= 1;
    waiting.shift()?.();
  }

  return (compression) => ({
    name: compression.name,
    compress: (bytes) => compression.compress(bytes),
    async decompress(bytes, readMaxBytes) {
      const expandedBytes = Math.max(minExpandedBytes, bytes.length * maxExpansion);
      // In the lanes the body gave this room back in the same turn.
      if (!budget.take(bytes.length)) {
        throw budget.full;
      }
      await enter();
      try {
        return await compression.decompress(bytes, Math.min(readMaxBytes, expandedBytes));
      } catch (error) {
        throw expandedBytes < readMaxBytes && ConnectError.from(error).code === Code.ResourceExhausted
          ? new ConnectError(
              `the message becomes more than ${maxExpansion} times as large by decompression`,
              Code.ResourceExhausted,
            )
          : error;
      } finally {
        budget.give(bytes.length);
        leave();
      }
    },
  });
}
