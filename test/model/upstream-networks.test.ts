import { describe, expect, test } from "vitest";
import {
  addressProblem,
  defaultUpstreamNetworks,
  networksOf,
  parseUpstreamNetworks,
  type UpstreamNetworks,
} from "../../src/model/upstream-networks.ts";

function networks(...items: string[]): UpstreamNetworks {
  const parsed = parseUpstreamNetworks(items);
  if (parsed === undefined) {
    throw new Error(`${items} are no networks`);
  }
  return parsed;
}

// Whatever an operator may write.
const everything = networks("public", "private", "loopback", "0.0.0.0/0", "::/0");

describe("an address that no upstream has is refused whatever is allowed", () => {
  test.each([
    // link-local, where most clouds keep their metadata
    "169.254.169.254",
    "169.254.170.2",
    "169.254.0.0",
    "169.254.255.255",
    "fe80::1",
    "fe80::1%eth0",
    "febf::1",
    "fec0::1",
    // metadata elsewhere
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    // unspecified: the kernel takes it for this machine
    "0.0.0.0",
    "0.1.2.3",
    "::",
    "::0",
    // multicast, broadcast, reserved
    "224.0.0.1",
    "239.255.255.255",
    "ff02::1",
    "255.255.255.255",
    "240.0.0.1",
    "100::1",
  ])("%s", (address) => {
    expect(addressProblem(address, everything)).toMatch(/^is an? .*, which is never called$/);
  });

  test.each([
    ["mapped", "::ffff:169.254.169.254"],
    ["mapped, in hexadecimal", "::ffff:a9fe:a9fe"],
    ["mapped, unspecified", "::ffff:0.0.0.0"],
    ["translated (SIIT)", "::ffff:0:169.254.169.254"],
    ["compatible", "::169.254.169.254"],
    ["NAT64", "64:ff9b::a9fe:a9fe"],
    ["NAT64, dotted", "64:ff9b::169.254.169.254"],
    ["a local NAT64", "64:ff9b:1::a9fe:a9fe"],
    ["6to4", "2002:a9fe:a9fe::1"],
    ["Teredo, its client", "2001:0:808:808:0:0:5601:5601"],
    ["Teredo, its server", "2001:0:a9fe:a9fe::"],
    ["ISATAP", "2001:db8::5efe:169.254.169.254"],
    ["ISATAP, global", "2001:db8::200:5efe:169.254.169.254"],
  ])("%s: %s", (_, address) => {
    expect(addressProblem(address, everything)).toMatch(/which is never called$/);
  });
});

describe("by default", () => {
  test.each([
    "8.8.8.8",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "100.127.255.255",
    "fd12:3456::1",
    "2606:4700::1111",
    "::ffff:10.0.0.1",
    "64:ff9b::8.8.8.8",
  ])("%s may be called", (address) => {
    expect(addressProblem(address, defaultUpstreamNetworks)).toBeUndefined();
  });

  test.each([
    "127.0.0.1",
    "127.255.255.254",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "2001:db8::5efe:127.0.0.1",
  ])("%s is this machine and may not", (address) => {
    expect(addressProblem(address, defaultUpstreamNetworks)).toBe(
      "is a loopback address, which upstreamNetworks does not allow",
    );
  });
});

describe("what is allowed", () => {
  test("is what is listed, and nothing else", () => {
    const listed = networks("10.1.0.0/16", "fd00:1::/32");
    expect(addressProblem("10.1.255.1", listed)).toBeUndefined();
    expect(addressProblem("::ffff:10.1.0.1", listed)).toBeUndefined();
    expect(addressProblem("fd00:1::5", listed)).toBeUndefined();
    expect(addressProblem("10.2.0.1", listed)).toBe(
      "is a private address, which upstreamNetworks does not allow",
    );
    expect(addressProblem("8.8.8.8", listed)).toBe(
      "is a public address, which upstreamNetworks does not allow",
    );
    expect(addressProblem("fd00:2::5", listed)).toContain("does not allow");
  });

  test("is exact to the bit", () => {
    const listed = networks("10.1.2.128/25");
    expect(addressProblem("10.1.2.127", listed)).toBeDefined();
    expect(addressProblem("10.1.2.128", listed)).toBeUndefined();
    expect(addressProblem("10.1.3.0", listed)).toBeDefined();
    expect(addressProblem("10.1.2.3", networks("10.1.2.3"))).toBeUndefined();
    expect(addressProblem("10.1.2.4", networks("10.1.2.3"))).toBeDefined();
  });

  test("includes this machine where an origin names it", () => {
    for (const origin of [
      "http://localhost:1",
      "http://a.localhost",
      "http://127.0.0.1",
      "http://127.1",
      "http://[::1]:8",
    ]) {
      expect(networksOf(origin, defaultUpstreamNetworks).loopback, origin).toBe(true);
    }
    for (const origin of [
      "http://localhost.evil.com",
      "http://orchestrator",
      "http://10.0.0.1",
      "http://127.0.0.1.nip.io",
    ]) {
      expect(networksOf(origin, defaultUpstreamNetworks).loopback, origin).toBe(false);
    }
  });

  test.each([
    "privat",
    "10.0.0.0/33",
    "10.0.0.0/-1",
    "10.0.0.0/8/8",
    "10.0.0/8",
    "::/129",
    "fe80::1%eth0/64",
    "10.0.0.0/",
    "",
  ])("is not read from %j", (item) => {
    expect(parseUpstreamNetworks([item])).toBeUndefined();
  });

  test("is never nothing at all", () => {
    expect(parseUpstreamNetworks([])).toBeUndefined();
  });
});

test("what is no address is refused", () => {
  for (const text of ["", "localhost", "127.1", "0x7f000001", "2130706433", "[::1]", "1.2.3.4.5"]) {
    expect(addressProblem(text, everything)).toBe("is no IP address");
  }
});
