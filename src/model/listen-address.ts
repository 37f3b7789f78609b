/** A TCP address to listen on. */
export interface TcpAddress {
  readonly kind: "tcp";
  readonly host: string;
  readonly port: number;
}

/** Where to listen: a TCP address, or the path of a Unix socket. */
export type ListenAddress = TcpAddress | { readonly kind: "unix"; readonly path: string };

/** Who may connect to a Unix socket. */
export interface SocketAccess {
  /** Permission bits. */
  mode: number;
  /** The group's number. Undefined: the process's own. */
  gid: number | undefined;
}

/**
 * Reads `host:port`, `[ipv6]:port`, `:port` (all addresses) or `unix:PATH`.
 * Returns undefined for anything else.
 */
export function parseListenAddress(text: string): ListenAddress | undefined {
  if (text.startsWith("unix:")) {
    const path = text.slice("unix:".length).replace(/^\/\/(?=\/)/, "");
    return path === "" ? undefined : { kind: "unix", path };
  }
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]/\s]*)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) {
    return undefined;
  }
  return { kind: "tcp", host: match[1] ?? (match[2] || "::"), port };
}

/** Writes an address as `parseListenAddress` reads it. */
export function formatListenAddress(address: ListenAddress): string {
  if (address.kind === "unix") {
    return `unix:${address.path}`;
  }
  return `${address.host.includes(":") ? `[${address.host}]` : address.host}:${address.port}`;
}

/** Says whether only this machine can reach the address. */
export function isLocalAddress(address: ListenAddress): boolean {
  return (
    address.kind === "unix" ||
    address.host === "localhost" ||
    address.host === "::1" ||
    /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(address.host)
  );
}
