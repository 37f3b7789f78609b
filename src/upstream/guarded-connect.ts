import dns, { type LookupAddress } from "node:dns";
import net, { type LookupFunction } from "node:net";
import { buildConnector } from "undici";

export interface GuardedLookupOptions {
  /** What is wrong with calling an address; undefined: nothing. */
  problemOf: (address: string) => string | undefined;
  /** Finds the addresses of a name. Default: the system's resolver. */
  lookup?: LookupFunction | undefined;
}

export interface GuardedConnectOptions extends GuardedLookupOptions {
  /** How long a connection may take to be made, TLS included. */
  timeoutMs: number;
  /** The CA certificates that are trusted now in place of the usual ones, as PEM. Default: the usual ones. */
  ca?: (() => string) | undefined;
}

/** Finds the addresses of a name, and none where one of them may not be called. */
export function createGuardedLookup(options: GuardedLookupOptions): LookupFunction {
  const { problemOf, lookup = dns.lookup as LookupFunction } = options;
  return (hostname, lookupOptions, callback) => {
    lookup(hostname, { ...lookupOptions, all: true }, (error, found) => {
      // All that were asked for, however many there are.
      const addresses = found as unknown as LookupAddress[];
      const [first] = addresses ?? [];
      if (error !== null || first === undefined) {
        callback(error ?? new Error(`${hostname} has no address`), "");
        return;
      }
      for (const { address } of addresses) {
        const problem = problemOf(address);
        if (problem !== undefined) {
          callback(new Error(`${hostname} resolves to ${address}, which ${problem}`), "");
          return;
        }
      }
      if (lookupOptions.all === true) {
        callback(null, addresses);
      } else {
        callback(null, first.address, first.family);
      }
    });
  };
}

/**
 * Makes connections to addresses that may be called, and to no others. A name is
 * resolved once, and what was checked is what is dialled, so a name that resolves to
 * something else later gains nothing; if one of its addresses is refused, all are.
 */
export function createGuardedConnect(options: GuardedConnectOptions): buildConnector.connector {
  const { problemOf, timeoutMs, ca = () => undefined } = options;
  const lookup = createGuardedLookup(options);
  let trusted: string | undefined;
  let connect: buildConnector.connector | undefined;

  return (target, callback) => {
    const { hostname } = target;
    // Nothing is looked up for an address.
    const problem = net.isIP(hostname) === 0 ? undefined : problemOf(hostname);
    if (problem !== undefined) {
      process.nextTick(callback, new Error(`${hostname} ${problem}`), null);
      return;
    }
    // It keeps TLS sessions, which must not outlive the trust in who they were begun with.
    if (connect === undefined || ca() !== trusted) {
      trusted = ca();
      const own = trusted === undefined ? {} : { ca: trusted };
      connect = buildConnector({ timeout: timeoutMs, allowH2: false, lookup, ...own });
    }
    connect(target, callback);
  };
}
