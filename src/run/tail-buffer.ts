/** Keeps the last bytes of what is appended. */
export interface TailBuffer {
  append: (chunk: Buffer) => void;
  /** What is kept, oldest first. */
  bytes: () => Buffer;
  /** How many bytes were appended in all. */
  totalBytes: () => number;
}

/** Creates a buffer that keeps `maxBytes`, and takes as much memory only when it must. */
export function createTailBuffer(maxBytes: number): TailBuffer {
  let ring = Buffer.alloc(0);
  let total = 0;

  function grow(neededBytes: number): void {
    const larger = Buffer.alloc(Math.min(maxBytes, Math.max(neededBytes, ring.length * 2, 4096)));
    ring.copy(larger);
    ring = larger;
  }

  return {
    append(chunk) {
      const part = chunk.subarray(Math.max(0, chunk.length - maxBytes));
      if (ring.length < maxBytes && total + part.length > ring.length) {
        grow(total + part.length);
      }
      total += chunk.length;
      // As long as it grows nothing wraps: the place of a byte is its number.
      const start = (total - part.length) % maxBytes;
      const copied = part.copy(ring, start);
      part.copy(ring, 0, copied);
    },
    bytes() {
      if (total <= maxBytes) {
        return ring.subarray(0, total);
      }
      const oldest = total % maxBytes;
      return Buffer.concat([ring.subarray(oldest), ring.subarray(0, oldest)]);
    },
    totalBytes: () => total,
  };
}
