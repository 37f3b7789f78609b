import { createContextKey } from "@connectrpc/connect";
import type { CallHead } from "../model/access.ts";

/** Where admission finds what it decides by, when it is asked by Connect. */
export const headKey = createContextKey<CallHead>(
  { path: "", host: "", origin: undefined, authorization: undefined },
  { description: "what admission decides by" },
);

/** What is called when Connect has admitted a call; it may throw, too. */
export const admittedKey = createContextKey<() => void>(() => undefined, {
  description: "what follows admission",
});

/** Says whether an authority is a host and perhaps a port: nothing that a URL reads as more. */
export function isHost(host: string | undefined): boolean {
  return host !== undefined && /^[^/?#@\\\s]+$/.test(host) && URL.canParse(`http://${host}`);
}
