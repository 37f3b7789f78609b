import { createTailBuffer } from "./tail-buffer.ts";

/** What a command has printed: its beginning and its end. */
export interface KeptOutput {
  append: (chunk: Buffer) => void;
  /**
   * The output as a text that is no larger than the limit; what is left out is left
   * out after the first quarter, with a line that says how much. Bytes that are no
   * text, and U+0000, become U+FFFD.
   *
   * @param measure the size that is limited; default: bytes of UTF-8
   */
  text: (limit: number, measure?: (text: string) => number) => string;
}

/** Creates a store of at most `maxBytes` of output. */
export function createKeptOutput(maxBytes: number): KeptOutput {
  const maxHeadBytes = Math.floor(maxBytes / 4);
  // The part that is full is never copied again.
  const head = createTailBuffer(maxHeadBytes);
  const tail = createTailBuffer(maxBytes - maxHeadBytes);
  return {
    append(chunk) {
      const room = maxHeadBytes - head.totalBytes();
      if (room > 0) {
        head.append(chunk.subarray(0, room));
      }
      if (chunk.length > room) {
        tail.append(chunk.subarray(room));
      }
    },
    text(limit, measure = Buffer.byteLength) {
      const kept = Buffer.concat([head.bytes(), tail.bytes()]);
      const total = head.totalBytes() + tail.totalBytes();
      // What is no text grows when it becomes some.
      for (let room = limit; room > 0; ) {
        const text = shorten(kept, head.bytes().length, total, room);
        const size = measure(text);
        if (size <= limit) {
          return text;
        }
        room = Math.min(room - 1, Math.floor(((room * limit) / size) * 0.99));
      }
      return "";
    },
  };
}

const maxNoteBytes = 80;

function shorten(kept: Buffer, headBytes: number, total: number, room: number): string {
  if (kept.length === total && total <= room) {
    return decode(kept);
  }
  const beginning = kept.subarray(0, Math.min(headBytes, Math.max(0, Math.floor((room - maxNoteBytes) / 4))));
  const endBytes = Math.max(0, room - maxNoteBytes - beginning.length);
  const end = kept.subarray(Math.max(beginning.length, kept.length - endBytes));
  const leftOut = total - beginning.length - end.length;
  return `${decode(beginning)}\n[taskgate: ${leftOut} bytes are left out here]\n${decode(end)}`;
}

function decode(bytes: Buffer): string {
  // A character that a cut has halved is left out: its first bytes by the decoder,
  // its last ones here.
  let start = 0;
  while (start < 3 && ((bytes[start] ?? 0) & 0xc0) === 0x80) {
    start += 1;
  }
  return new TextDecoder("utf-8", { ignoreBOM: true })
    .decode(bytes.subarray(start), { stream: true })
    .replaceAll("\u0000", "\ufffd");
}
