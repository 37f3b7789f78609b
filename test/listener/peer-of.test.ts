import { expect, test } from "vitest";
import { peerOf } from "../../src/listener/peer-of.ts";

test.each([
  [undefined, undefined],
  ["127.0.0.1", undefined],
  ["::1", undefined],
  ["::ffff:127.0.0.9", undefined],
  ["10.1.2.3", "10.1.2.3"],
  ["::ffff:10.1.2.3", "::ffff:10.1.2.3"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
  ["2001:db8:1:2::9", "2001:db8:1:2::/64"],
  ["2001:db8::9", "2001:db8:0:0::/64"],
  ["2001:db8::", "2001:db8:0:0::/64"],
  ["::2", "0:0:0:0::/64"],
  ["fe80::1:2%eth0", "fe80:0:0:0::/64"],
])("S6 a connection from %s is one of %s", (remoteAddress, peer) => {
  expect(peerOf({ remoteAddress })).toBe(peer);
});
