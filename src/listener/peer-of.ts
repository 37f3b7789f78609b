import type { Socket } from "node:net";

/**
 * Whose connection it is, or `undefined` for this machine, where all are one: an address,
 * of IPv6 the network of 64 bits, which is what one machine is given.
 */
export function peerOf({ remoteAddress }: Pick<Socket, "remoteAddress">): string | undefined {
  return remoteAddress === undefined || /^(::ffff:)?127\.|^::1$/.test(remoteAddress)
    ? undefined
    : networkOf(remoteAddress);
}

function networkOf(address: string): string {
  if (!address.includes(":") || address.includes(".")) {
    return address;
  }
  const [head = "", tail] = address.split("::", 2);
  const groups = head === "" ? [] : head.split(":");
  const missing = tail === undefined ? 0 : 8 - groups.length - tail.split(":").length;
  return `${[...groups, ...Array<string>(missing).fill("0"), ...(tail ?? "").split(":")].slice(0, 4).join(":")}::/64`;
}
