import { spawnSync } from "node:child_process";

/** A network namespace with a wire to this machine's, which can be cut. */
export interface Network {
  name: string;
  /** This machine's end of the wire. */
  host: string;
  cut(): void;
  mend(): void;
  remove(): void;
}

const laid = new Set<Network>();

/** Removes all that are left. */
export function removeNetworks(): void {
  for (const network of laid) {
    network.remove();
  }
}

function ip(...args: string[]): string | undefined {
  const { status, stderr, error } = spawnSync("ip", args, { encoding: "utf8" });
  return status === 0 ? undefined : `ip ${args.join(" ")}: ${error?.message ?? stderr.trim()}`;
}

/** Lays a wire into a new network namespace. Returns why that cannot be had on this machine. */
export function layNetwork(number: number): Network | string {
  const name = `taskgate-${process.pid}-${number}`;
  const [outer, inner] = [`tgo${process.pid % 10_000}n${number}`, `tgi${process.pid % 10_000}n${number}`];
  // Addresses for benchmarks (RFC 2544), which no network has.
  const subnet = `198.18.${number % 256}`;
  const problem =
    ip("netns", "add", name) ??
    ip("link", "add", outer, "type", "veth", "peer", "name", inner, "netns", name) ??
    ip("addr", "add", `${subnet}.1/30`, "dev", outer) ??
    ip("link", "set", outer, "up") ??
    ip("-n", name, "addr", "add", `${subnet}.2/30`, "dev", inner) ??
    ip("-n", name, "link", "set", inner, "up");
  // The wire goes with its other end, but not at once.
  const remove = () => {
    ip("link", "del", outer);
    ip("netns", "del", name);
  };
  if (problem !== undefined) {
    remove();
    return problem;
  }
  function set(state: "up" | "down"): void {
    const failed = ip("-n", name, "link", "set", inner, state);
    if (failed !== undefined) {
      throw new Error(failed);
    }
  }
  const network: Network = {
    name,
    host: `${subnet}.1`,
    cut: () => set("down"),
    mend: () => set("up"),
    remove() {
      laid.delete(network);
      remove();
    },
  };
  laid.add(network);
  return network;
}
