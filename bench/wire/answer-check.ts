/** What came of an answer so far. */
export interface AnswerProgress {
  /** Bytes of DATA frames. */
  receivedBytes: number;
  /** What gRPC's prefix says of the message; complete once the prefix is. */
  messageBytes: number;
}

/** One byte of flags and four of length stand before each message of gRPC. */
export const prefixBytes = 5;

/** Counts the payload of one more DATA frame. */
export function takeAnswerBytes(answer: AnswerProgress, payload: Buffer): void {
  const missingPrefixBytes = prefixBytes - answer.receivedBytes;
  for (const [index, byte] of payload.subarray(0, Math.max(0, missingPrefixBytes)).entries()) {
    if (answer.receivedBytes + index > 0) {
      answer.messageBytes = answer.messageBytes * 0x100 + byte;
    }
  }
  answer.receivedBytes += payload.length;
}

/** Says whether exactly one whole message came. */
export function isWholeAnswer(answer: AnswerProgress): boolean {
  return answer.receivedBytes >= prefixBytes && answer.receivedBytes === prefixBytes + answer.messageBytes;
}
