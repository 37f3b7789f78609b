/** Bytes that have come and were not taken yet. */
export interface ByteQueue {
  readonly size: number;
  /** In how many pieces they are kept. */
  readonly pieces: number;
  add(chunk: Buffer): void;
  /** The first bytes, of which there must be as many. They stay. */
  peek(length: number): Buffer;
  /** Takes the first bytes, of which there must be as many. */
  take(length: number): Buffer;
  clear(): void;
}

// A piece costs a hundred bytes beside its own, and a client may send them one by one.
const maxJoinedBytes = 16 * 1024;

/** Creates a queue that keeps small chunks together, and large ones as they came until they are taken. */
export function createByteQueue(): ByteQueue {
  let chunks: Buffer[] = [];
  let size = 0;

  // Of sizes that fall, so that no byte is copied often.
  function joinLast(): void {
    for (;;) {
      const before = chunks.at(-2);
      const last = chunks.at(-1);
      if (before === undefined || last === undefined || before.length > last.length) {
        return;
      }
      if (before.length + last.length > maxJoinedBytes) {
        return;
      }
      chunks.splice(-2, 2, Buffer.concat([before, last]));
    }
  }

  function joined(): Buffer {
    const [first] = chunks;
    const buffer = chunks.length === 1 && first ? first : Buffer.concat(chunks);
    chunks = [buffer];
    return buffer;
  }

  return {
    get size() {
      return size;
    },
    get pieces() {
      return chunks.length;
    },
    add(chunk) {
      chunks.push(chunk);
      size += chunk.length;
      joinLast();
    },
    peek(length) {
      const [first] = chunks;
      return (first && first.length >= length ? first : joined()).subarray(0, length);
    },
    take(length) {
      const buffer = joined();
      size -= length;
      chunks = size === 0 ? [] : [buffer.subarray(length)];
      return buffer.subarray(0, length);
    },
    clear() {
      chunks = [];
      size = 0;
    },
  };
}
