import { type IpBytes, type IpNetwork, isInNetwork, parseIp, parseIpNetwork } from "./ip-address.ts";

/**
 * The addresses that upstreams may have. What no upstream has (link-local, metadata,
 * multicast, unspecified, reserved) is refused whatever is allowed here.
 */
export interface UpstreamNetworks {
  public: boolean;
  private: boolean;
  loopback: boolean;
  /** Allowed beside those. */
  networks: readonly IpNetwork[];
}

/** Upstreams in the same cluster have private addresses. This machine's own are for who names it. */
export const defaultUpstreamNetworks: UpstreamNetworks = {
  public: true,
  private: true,
  loopback: false,
  networks: [],
};

/** Reads `public`, `private`, `loopback` and networks such as `10.1.0.0/16`; undefined: one of them is none. */
export function parseUpstreamNetworks(items: readonly string[]): UpstreamNetworks | undefined {
  const words = ["public", "private", "loopback"];
  const networks = items.filter((item) => !words.includes(item)).map(parseIpNetwork);
  const defined = networks.filter((network) => network !== undefined);
  return defined.length < networks.length || items.length === 0
    ? undefined
    : {
        public: items.includes("public"),
        private: items.includes("private"),
        loopback: items.includes("loopback"),
        networks: defined,
      };
}

/** What is allowed to an origin: one that is named as this machine's own may have its addresses. */
export function networksOf(origin: string, allowed: UpstreamNetworks): UpstreamNetworks {
  const host = new URL(origin).hostname.replace(/^\[|\]$/g, "");
  const bytes = parseIp(host);
  const isOwn =
    bytes === undefined
      ? /^(.+\.)?localhost\.?$/.test(host)
      : facesOf(bytes).every((face) => kindOf(face) === "loopback");
  return isOwn ? { ...allowed, loopback: true } : allowed;
}

/**
 * What is wrong with calling an address: what kind it is, as the end of a sentence
 * about it. Undefined: nothing.
 */
export function addressProblem(address: string, allowed: UpstreamNetworks): string | undefined {
  const bytes = parseIp(address);
  if (bytes === undefined) {
    return "is no IP address";
  }
  for (const face of facesOf(bytes)) {
    const never = neverCalled.find(({ network }) => isInNetwork(face, network));
    if (never !== undefined) {
      return `is ${never.kind}, which is never called`;
    }
    const kind = kindOf(face);
    if (!allowed[kind] && !allowed.networks.some((network) => isInNetwork(face, network))) {
      return `is ${kind === "loopback" ? "a loopback address" : `a ${kind} address`}, which upstreamNetworks does not allow`;
    }
  }
  return undefined;
}

function kindOf(bytes: IpBytes): "public" | "private" | "loopback" {
  if (loopback.some((network) => isInNetwork(bytes, network))) {
    return "loopback";
  }
  return privates.some((network) => isInNetwork(bytes, network)) ? "private" : "public";
}

// An IPv6 address may stand for an IPv4 address, or lead to one through a gateway or a
// tunnel: each is judged.
function facesOf(bytes: IpBytes): readonly IpBytes[] {
  if (bytes.length === 4) {
    return [bytes];
  }
  const isUnder = (prefix: IpNetwork) => isInNetwork(bytes, prefix);
  const last = bytes.slice(12);
  if (isUnder(mapped)) {
    return [last];
  }
  if (isUnder(translated) || isUnder(nat64)) {
    return [last];
  }
  // `::` and `::1` are themselves and no IPv4 addresses.
  if (isUnder(compatible) && bytes.slice(0, 15).some((byte) => byte !== 0)) {
    return [last];
  }
  if (isUnder(sixToFour)) {
    return [bytes, bytes.slice(2, 6)];
  }
  if (isUnder(teredo)) {
    return [bytes, bytes.slice(4, 8), last.map((byte) => byte ^ 0xff)];
  }
  const isIsatap =
    [0, 2].includes(bytes[8] ?? -1) && bytes[9] === 0 && bytes[10] === 0x5e && bytes[11] === 0xfe;
  return isIsatap ? [bytes, last] : [bytes];
}

function network(text: string): IpNetwork {
  const parsed = parseIpNetwork(text);
  if (parsed === undefined) {
    throw new Error(`${text} is no network`);
  }
  return parsed;
}

const mapped = network("::ffff:0:0/96");
const translated = network("::ffff:0:0:0/96");
const compatible = network("::/96");
const nat64 = network("64:ff9b::/96");
const sixToFour = network("2002::/16");
const teredo = network("2001::/32");

const loopback = ["127.0.0.0/8", "::1"].map(network);
const privates = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"].map(network);

const neverCalled = [
  ["0.0.0.0/8", "an unspecified address"],
  ["::/128", "an unspecified address"],
  ["169.254.0.0/16", "a link-local address"],
  ["fe80::/10", "a link-local address"],
  ["fec0::/10", "a site-local address"],
  // Of Alibaba, Azure, Oracle (in a block of protocols), AWS and Google.
  ["100.100.100.200", "a cloud's metadata address"],
  ["168.63.129.16", "a cloud's metadata address"],
  ["192.0.0.0/24", "a cloud's metadata address"],
  ["fd00:ec2::/32", "a cloud's metadata address"],
  ["fd20:ce::/32", "a cloud's metadata address"],
  ["224.0.0.0/4", "a multicast address"],
  ["ff00::/8", "a multicast address"],
  ["240.0.0.0/4", "a reserved address"],
  ["100::/64", "a reserved address"],
  // It does not say where in it the IPv4 address is.
  ["64:ff9b:1::/48", "an address of a local NAT64"],
].map(([text = "", kind]) => ({ network: network(text), kind }));
