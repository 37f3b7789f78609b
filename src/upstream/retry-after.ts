/** The longest wait that an upstream may ask for. */
export const maxRetryAfterMs = 600_000;

/**
 * Reads a `Retry-After` header (RFC 9110 section 10.2.3: seconds or a date) as
 * milliseconds from `nowMs`, at most `maxRetryAfterMs`. Returns undefined for
 * what is absent, malformed, negative or past.
 */
export function parseRetryAfter(header: string | undefined, nowMs: number): number | undefined {
  if (header === undefined) {
    return undefined;
  }
  const text = header.trim();
  const waitMs = /^\d+$/.test(text) ? Number(text) * 1000 : httpDateMs(text) - nowMs;
  return waitMs > 0 ? Math.min(waitMs, maxRetryAfterMs) : undefined;
}

// `Date.parse` alone takes much more than dates, "-1" for example.
function httpDateMs(text: string): number {
  return /^(Mon|Tue|Wed|Thu|Fri|Sat|Sun)/.test(text) ? Date.parse(text) : Number.NaN;
}
