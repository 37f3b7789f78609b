import type { Secret } from "./secret.ts";

/** How an upstream is reached, beyond its URL. */
export interface UpstreamWay {
  /** The CA certificates that are trusted in place of the usual ones, as PEM. */
  ca: Secret | undefined;
  /** Undefined: it is called straight, whatever the environment says. */
  proxy: UpstreamProxy | undefined;
}

/** An outgoing proxy. */
export interface UpstreamProxy {
  /** Scheme, host and port. */
  origin: string;
  /** User and password, with a colon between. */
  credentials: Secret | undefined;
}
