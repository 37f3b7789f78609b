import { stripVTControlCharacters } from "node:util";
import { createTailBuffer } from "./tail-buffer.ts";

/** The last line of an output, for people. */
export interface LastLine {
  append: (chunk: Buffer) => void;
  /**
   * The last line that is not blank, without colours and control characters, cut at
   * `maxLineLength`; empty when there is none.
   *
   * @param isEnded a line without an end counts, too
   */
  get: (isEnded: boolean) => string;
}

/** How long a line may be, in UTF-16 units. */
export const maxLineLength = 500;

// Of a longer line only the end is known.
const keptBytes = 8192;

/** Creates a reader of an output's last line. A carriage return ends a line, as progress bars want it. */
export function createLastLine(): LastLine {
  const tail = createTailBuffer(keptBytes);
  return {
    append: tail.append,
    get(isEnded) {
      const lines = tail
        .bytes()
        .toString("utf8")
        .split(/[\r\n]+/);
      if (!isEnded) {
        lines.pop();
      }
      const line = lines.map(plainText).findLast((text) => text !== "");
      return cutText(line ?? "", maxLineLength);
    },
  };
}

/** Cuts a text, and shows that it did. */
export function cutText(text: string, maxLength: number): string {
  return text.length > maxLength ? `${text.slice(0, maxLength - 3).replace(/\p{Cs}$/u, "")}...` : text;
}

function plainText(line: string): string {
  return stripVTControlCharacters(line)
    .replace(/\t/g, " ")
    .replace(/\p{Cc}/gu, "")
    .trim();
}
