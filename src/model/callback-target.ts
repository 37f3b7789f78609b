const routePattern =
  /^\/api\/processes\/([0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12})\/callback\/([A-Za-z0-9_-]{43})$/;

/** One callback of the Workflow Orchestrator. */
export interface CallbackTarget {
  /** The configured base URL, without a trailing slash. */
  base: string;
  /** Path of the callback, as the caller wrote it. Holds the token. */
  route: string;
  /** The process, in lower case. */
  processId: string;
  /** The single-use token: a secret. */
  token: string;
}

/** The callback as one text: never the origin, which may have several names. Holds the token. */
export function callbackKey(target: CallbackTarget): string {
  return `${target.processId}/${target.token}`;
}

/** A target, or what is wrong with it, as the end of a sentence about it. */
export type CallbackTargetResult = { readonly target: CallbackTarget } | { readonly problem: string };

/**
 * Reads a callback's route. The raw text is matched, before anything could
 * normalise it: no query, no encoding, no `..`, no `//`, no `/progress`.
 */
export function parseCallbackRoute(route: string, bases: readonly string[]): CallbackTargetResult {
  const match = routePattern.exec(route);
  if (match === null) {
    return { problem: "must be /api/processes/<uuid>/callback/<43 characters of a-z, A-Z, 0-9, _ and ->" };
  }
  const [base, ...others] = bases;
  if (base === undefined || others.length > 0) {
    return {
      problem: "does not say which of the configured orchestrators is meant; use callback_url",
    };
  }
  const [, processId = "", token = ""] = match;
  return { target: { base, route, processId: processId.toLowerCase(), token } };
}

/** Reads a callback's URL: one of the bases, and a route right behind it. */
export function parseCallbackUrl(url: string, bases: readonly string[]): CallbackTargetResult {
  // One base may be the beginning of another: the one that leaves a route is meant.
  const results = bases
    .filter((base) => url.startsWith(`${base}/`))
    .map((base) => parseCallbackRoute(url.slice(base.length), [base]));
  return (
    results.find((result) => "target" in result) ??
    results[0] ?? { problem: "must begin with a base URL that the gateway is configured with" }
  );
}
