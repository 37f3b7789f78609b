/**
 * What a wait keeps back of a caller's deadline, so that the answer arrives before it:
 * a tenth of what is left, 50 ms to 1 s.
 */
export function answerMarginMs(remainingMs: number): number {
  return Math.min(1000, Math.max(50, remainingMs / 10));
}
