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

// The three forms of a date in HTTP; `Date.parse` alone takes much more, "-1" for
// example. The third form has no zone and means GMT.
const httpDate = /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? [-\w ]+ \d\d:\d\d:\d\d (?:GMT|\d{4})$/;

function httpDateMs(text: string): number {
  return httpDate.test(text) ? Date.parse(text.endsWith("GMT") ? text : `${text} GMT`) : Number.NaN;
}
