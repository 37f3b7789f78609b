export interface DeadlinePolicy {
  /** How long a unary call may take whose caller set no deadline. */
  defaultMs: number;
  /** The longest that a unary call may take, whatever its caller set. */
  maxMs: number;
}

const unitMs: Record<string, number> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 0.001, n: 0.000001 };

/**
 * Reads gRPC's `grpc-timeout` header. Returns undefined when it is absent, and
 * `invalid` when it is malformed.
 */
export function parseGrpcTimeout(header: string | undefined): number | "invalid" | undefined {
  if (header === undefined) {
    return undefined;
  }
  const match = /^(\d{1,8})([HMSmun])$/.exec(header);
  return match === null ? "invalid" : Number(match[1]) * (unitMs[match[2] ?? ""] ?? 0);
}

/** The time that a unary call gets. */
export function grantedMs(askedMs: number | undefined, policy: DeadlinePolicy): number {
  return Math.min(askedMs ?? policy.defaultMs, policy.maxMs);
}

type TimeoutHeaders = Record<string, string | string[] | undefined>;

/**
 * Rewrites the timeout header of a unary call to what the policy grants. Connect
 * refuses a deadline over its limit where a cap is wanted, and gives none to a
 * call that asks for none. A malformed header is left for Connect to refuse.
 */
export function grantDeadline(headers: TimeoutHeaders, policy: DeadlinePolicy): void {
  rewriteTimeout(headers, (askedMs) => grantedMs(askedMs, policy));
}

/** The time that the headers of a unary call grant. */
export function grantedTimeoutMs(headers: TimeoutHeaders, policy: DeadlinePolicy): number {
  let grantedTime = policy.maxMs;
  rewriteTimeout(headers, (askedMs) => {
    grantedTime = grantedMs(askedMs, policy);
    return undefined;
  });
  return grantedTime;
}

// What a timer of Node can hold; a longer one would end at once.
const maxTimerMs = 2 ** 31 - 1;

/** Rewrites the timeout header of a stream, where it has one, to what a timer can hold: 24 days. */
export function capStreamDeadline(headers: TimeoutHeaders): void {
  rewriteTimeout(headers, cappedMs);
}

/** The time that a stream gets: what was asked for, as far as a timer can hold it. Undefined: no deadline. */
export function cappedMs(askedMs: number | undefined): number | undefined {
  return askedMs && Math.min(askedMs, maxTimerMs);
}

function rewriteTimeout(
  headers: TimeoutHeaders,
  grant: (askedMs: number | undefined) => number | undefined,
): void {
  if (headers["content-type"]?.includes("application/grpc") === true) {
    const asked = parseGrpcTimeout(first(headers["grpc-timeout"]));
    const granted = asked === "invalid" ? undefined : grant(asked);
    if (granted !== undefined) {
      headers["grpc-timeout"] = formatGrpcTimeout(granted);
    }
    return;
  }
  const asked = first(headers["connect-timeout-ms"]);
  if (asked === undefined || /^\d{1,10}$/.test(asked)) {
    const granted = grant(asked === undefined ? undefined : Number(asked));
    if (granted !== undefined) {
      headers["connect-timeout-ms"] = String(granted);
    }
  }
}

// At most eight digits are allowed.
function formatGrpcTimeout(ms: number): string {
  if (ms < 1) {
    return `${Math.round(ms * 1_000_000)}n`;
  }
  return ms < 1e8 ? `${Math.ceil(ms)}m` : `${Math.floor(ms / 1000)}S`;
}

function first(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}
