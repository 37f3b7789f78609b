/** Writes values as Protobuf has them on the wire, one behind the other. */
export interface WireWriter {
  /** A whole number of 0 or more that a `number` can hold. */
  varint(value: number): void;
  /** 64 bits, of a negative number in two's complement. */
  varint64(value: bigint): void;
  raw(value: Uint8Array): void;
  /** Bytes behind their length. */
  bytes(value: Uint8Array): void;
  /** UTF-8 behind its length. What is no Unicode becomes U+FFFD. */
  text(value: string): void;
  /** Begins something that has its length in front. Returns what `endPart` wants. */
  beginPart(): number;
  endPart(begin: number): void;
  /** Forgets what was written. */
  clear(): void;
  /** Returns what was written, behind some bytes for the caller to fill, and forgets it. */
  take(headBytes: number): Buffer;
}

const firstBytes = 4096;
// A large message leaves no large memory behind.
const keptBytes = 64 * 1024;
const maxVarintBytes = 10;
// A call of native code takes longer than a short text.
const maxShortText = 64;

/**
 * Creates a writer that keeps its memory for the next message. New memory for each
 * takes longer than all else about a small one.
 */
export function createWireWriter(): WireWriter {
  let buffer = Buffer.allocUnsafeSlow(firstBytes);
  let at = 0;

  function reserve(size: number): void {
    if (at + size > buffer.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(at + size, buffer.length * 2));
      buffer.copy(larger, 0, 0, at);
      buffer = larger;
    }
  }

  function varint(value: number): void {
    reserve(maxVarintBytes);
    let rest = value;
    // Shifts know 32 bits only.
    while (rest > 0x7fff_ffff) {
      buffer[at++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    while (rest > 0x7f) {
      buffer[at++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    buffer[at++] = rest;
  }

  function raw(value: Uint8Array): void {
    reserve(value.length);
    buffer.set(value, at);
    at += value.length;
  }

  // False: it is not ASCII, and nothing was written.
  function shortAscii(value: string): boolean {
    let end = at + 1;
    for (let index = 0; index < value.length; index += 1) {
      const code = value.charCodeAt(index);
      if (code > 0x7f) {
        return false;
      }
      buffer[end++] = code;
    }
    buffer[at] = value.length;
    at = end;
    return true;
  }

  return {
    varint,
    raw,
    varint64(value) {
      if (value >= 0n && value <= Number.MAX_SAFE_INTEGER) {
        varint(Number(value));
        return;
      }
      reserve(maxVarintBytes);
      let rest = BigInt.asUintN(64, value);
      while (rest > 0x7fn) {
        buffer[at++] = Number(rest & 0x7fn) | 0x80;
        rest >>= 7n;
      }
      buffer[at++] = Number(rest);
    },
    bytes(value) {
      varint(value.length);
      raw(value);
    },
    text(value) {
      reserve(1 + maxShortText);
      if (value.length > maxShortText || !shortAscii(value)) {
        const size = Buffer.byteLength(value);
        varint(size);
        reserve(size);
        at += buffer.write(value, at, size);
      }
    },
    beginPart() {
      reserve(1);
      // Most are so short that one byte says how long.
      at += 1;
      return at;
    },
    endPart(begin) {
      const size = at - begin;
      if (size < 0x80) {
        buffer[begin - 1] = size;
        return;
      }
      let more = 0;
      for (let rest = size; rest > 0x7f; rest >>>= 7) {
        more += 1;
      }
      reserve(more);
      buffer.copyWithin(begin + more, begin, at);
      at = begin - 1;
      varint(size);
      at += size;
    },
    clear() {
      at = 0;
    },
    take(headBytes) {
      const taken = Buffer.allocUnsafe(headBytes + at);
      buffer.copy(taken, headBytes, 0, at);
      at = 0;
      if (buffer.length > keptBytes) {
        buffer = Buffer.allocUnsafeSlow(firstBytes);
      }
      return taken;
    },
  };
}
