import net from "node:net";

/** The bytes of an IP address: 4 or 16. */
export type IpBytes = readonly number[];

/** A network: all addresses that begin with the same bits. */
export interface IpNetwork {
  bytes: IpBytes;
  prefixLength: number;
}

/** Reads an IP address, with or without a zone; undefined for anything else. */
export function parseIp(text: string): IpBytes | undefined {
  const address = text.replace(/%.*$/s, "");
  if (net.isIPv4(address)) {
    return address.split(".").map(Number);
  }
  return net.isIPv6(address) ? parseIpv6(address) : undefined;
}

/** Reads a network such as `10.0.0.0/8` or `fd00::/8`, or one address; undefined for anything else. */
export function parseIpNetwork(text: string): IpNetwork | undefined {
  const [address = "", length, ...others] = text.split("/");
  const bytes = parseIp(address);
  if (bytes === undefined || address.includes("%") || others.length > 0) {
    return undefined;
  }
  const prefixLength = length === undefined ? bytes.length * 8 : Number(length);
  const isLength = length === undefined || /^\d{1,3}$/.test(length);
  return isLength && prefixLength <= bytes.length * 8 ? { bytes, prefixLength } : undefined;
}

/** Says whether an address is of a network. */
export function isInNetwork(address: IpBytes, { bytes, prefixLength }: IpNetwork): boolean {
  if (address.length !== bytes.length) {
    return false;
  }
  return bytes.every((byte, index) => {
    const bits = Math.min(8, Math.max(0, prefixLength - index * 8));
    const mask = 0xff & (0xff00 >> bits);
    return ((address[index] ?? 0) & mask) === (byte & mask);
  });
}

// Its form is known to be right: at most one `::`, and IPv4 only at the end.
function parseIpv6(address: string): IpBytes {
  const [head = "", tail] = address.split("::");
  const first = groupsOf(head);
  const last = tail === undefined ? [] : groupsOf(tail);
  return [...first, ...Array<number>(16 - first.length - last.length).fill(0), ...last];
}

function groupsOf(text: string): number[] {
  const groups = text === "" ? [] : text.split(":");
  return groups.flatMap((group) => {
    if (group.includes(".")) {
      return group.split(".").map(Number);
    }
    const value = Number.parseInt(group, 16);
    return [value >> 8, value & 0xff];
  });
}
