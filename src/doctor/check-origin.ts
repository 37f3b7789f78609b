import type { LookupAddress } from "node:dns";
import { isIP, type LookupFunction } from "node:net";
import tls from "node:tls";
import { messageOf } from "../model/error-message.ts";
import type { ProxyOptions } from "../upstream/dispatcher.ts";
import { createGuardedLookup } from "../upstream/guarded-connect.ts";
import type { Finding } from "./finding.ts";

/** How an upstream is reached. */
export interface Reach {
  /** Its name, for people. */
  upstream: string;
  /** Scheme, host and port. */
  origin: string;
  timeoutMs: number;
  /** The wall clock. */
  now: () => number;
  /** What is wrong with calling an address, as the end of a sentence; undefined: nothing. */
  addressProblem: (address: string) => string | undefined;
  /** Finds the addresses of names. */
  lookup: LookupFunction;
  /** CA certificates that are trusted in place of the usual ones, as PEM. */
  ca?: string | undefined;
  /** The proxy that is gone through. */
  proxy?: ProxyOptions | undefined;
}

const soonMs = 14 * 86_400_000;

/** Resolves an origin's name and, with https, shakes hands with it. Nothing is asked of it. */
export async function checkOrigin(reach: Reach): Promise<Finding[]> {
  const { hostname, protocol } = new URL(reach.origin);
  const host = hostname.replace(/^\[|\]$/g, "");
  const names = isIP(host) === 0 ? [await checkName(reach, host)] : refused(reach, [host]);
  if (protocol !== "https:" || names.some(({ kind }) => kind === "problem")) {
    return protocol === "https:" ? names : [...names, plain(reach, host)];
  }
  return [...names, await checkTls(reach, host)];
}

async function checkName(reach: Reach, host: string): Promise<Finding> {
  const subject = `${reach.upstream} DNS`;
  const startMs = performance.now();
  try {
    const addresses = await new Promise<LookupAddress[]>((resolve, reject) =>
      reach.lookup(host, { all: true }, (error, found) =>
        error === null ? resolve(found as LookupAddress[]) : reject(error),
      ),
    );
    const tookMs = (performance.now() - startMs).toFixed(0);
    const [refusal] = refused(
      reach,
      addresses.map(({ address }) => address),
    );
    if (refusal !== undefined) {
      return refusal;
    }
    return {
      kind: "ok",
      subject,
      words: `${host} is ${addresses.map(({ address }) => address).join(", ")} (${tookMs} ms)`,
    };
  } catch (error) {
    return {
      kind: "problem",
      subject,
      words: `${host} has no address: ${messageOf(error)}`,
      advice:
        "check the name, and that this machine or pod reaches its DNS (a NetworkPolicy must let port 53 through)",
    };
  }
}

// The gateway looks at every address as it connects.
function refused({ upstream, addressProblem }: Reach, addresses: readonly string[]): Finding[] {
  return addresses.flatMap((address): Finding[] => {
    const problem = addressProblem(address);
    return problem === undefined
      ? []
      : [
          {
            kind: "problem",
            subject: `${upstream} address`,
            words: `${address} ${problem}`,
            advice:
              "if it is right, allow it with TASKGATE_UPSTREAM_NETWORKS; else ask who answers for the name",
          },
        ];
  });
}

function plain({ upstream }: Reach, host: string): Finding {
  const subject = `${upstream} TLS`;
  const isLoopback = host === "localhost" || host === "::1" || host.startsWith("127.");
  return isLoopback
    ? { kind: "ok", subject, words: "none, on loopback" }
    : {
        kind: "warning",
        subject,
        words: "none: the credential and the reports can be read on the way",
        advice: "use https",
      };
}

function checkTls(
  { upstream, origin, timeoutMs, now, ca, addressProblem, lookup }: Reach,
  host: string,
): Promise<Finding> {
  const subject = `${upstream} TLS`;
  const port = Number(new URL(origin).port || 443);
  return new Promise((resolve) => {
    const socket = tls.connect({
      host,
      port,
      // The name may be another address by now.
      lookup: createGuardedLookup({ problemOf: addressProblem, lookup }),
      // It is looked at here, so that what is wrong with it can be told.
      rejectUnauthorized: false,
      ...(isIP(host) === 0 ? { servername: host } : {}),
      ...(ca === undefined ? {} : { ca }),
    });
    socket.setTimeout(timeoutMs, () => socket.destroy(new Error(`no handshake within ${timeoutMs} ms`)));
    socket.once("error", (error) => {
      resolve({
        kind: "problem",
        subject,
        words: `no handshake with ${host}:${port}: ${messageOf(error)}`,
        advice: "check host and port, and that a firewall or NetworkPolicy lets this machine or pod connect",
      });
    });
    socket.once("secureConnect", () => {
      resolve(judgeCertificate(subject, socket, host, now()));
      socket.destroy();
    });
  });
}

function judgeCertificate(subject: string, socket: tls.TLSSocket, host: string, nowMs: number): Finding {
  const certificate = socket.getPeerCertificate();
  const endMs = Date.parse(certificate.valid_to);
  const mismatch = tls.checkServerIdentity(host, certificate);
  const reason = mismatch === undefined ? socket.authorizationError : "it is for other names";
  if (reason) {
    return {
      kind: "problem",
      subject,
      words: `the certificate of ${host} is not to be trusted: ${reason}`,
      advice: "if its CA is your own, give the upstream that CA; else ask whoever runs it",
    };
  }
  const words = `${socket.getProtocol()}, certificate until ${new Date(endMs).toISOString().slice(0, 10)}`;
  return endMs - nowMs < soonMs
    ? { kind: "warning", subject, words: `${words}, which is soon`, advice: "have it renewed" }
    : { kind: "ok", subject, words };
}
