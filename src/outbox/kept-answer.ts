/**
 * The longest answer of an upstream that is kept with its delivery. What has ended is
 * in no quota, and there may be 200,000 of it.
 */
export const maxKeptAnswerBytes = 16 * 1024;

/** What is kept of an upstream's answer: all of it, or nothing. */
export function keptAnswer(answer: string): string {
  return Buffer.byteLength(answer) <= maxKeptAnswerBytes ? answer : "";
}
