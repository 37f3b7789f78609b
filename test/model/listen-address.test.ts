import { expect, test } from "vitest";
import {
  formatListenAddress,
  isLocalAddress,
  type ListenAddress,
  parseListenAddress,
} from "../../src/model/listen-address.ts";

const tcp = (host: string, port: number): ListenAddress => ({ kind: "tcp", host, port });
const unix = (path: string): ListenAddress => ({ kind: "unix", path });

test.each<[text: string, address: ListenAddress]>([
  ["127.0.0.1:7450", tcp("127.0.0.1", 7450)],
  ["localhost:0", tcp("localhost", 0)],
  ["gateway.example:65535", tcp("gateway.example", 65_535)],
  [":7450", tcp("::", 7450)],
  ["0.0.0.0:80", tcp("0.0.0.0", 80)],
  ["[::1]:7450", tcp("::1", 7450)],
  ["[::]:7450", tcp("::", 7450)],
  ["[2001:DB8::1]:443", tcp("2001:DB8::1", 443)],
  ["[::ffff:127.0.0.1]:80", tcp("::ffff:127.0.0.1", 80)],
  ["a:00080", tcp("a", 80)],
  ["unix:/run/taskgate.sock", unix("/run/taskgate.sock")],
  ["unix:///run/taskgate.sock", unix("/run/taskgate.sock")],
  ["unix:taskgate.sock", unix("taskgate.sock")],
  ["unix:./a b:c.sock", unix("./a b:c.sock")],
])("%s is read", (text, address) => {
  expect(parseListenAddress(text)).toEqual(address);
});

test.each([
  "",
  ":",
  "7450",
  "localhost",
  "localhost:",
  "localhost:x",
  "localhost:-1",
  "localhost:+1",
  "localhost:1.5",
  "localhost:1e3",
  "localhost:0x50",
  "localhost:65536",
  "localhost:99999",
  "localhost:000080",
  "localhost: 80",
  "localhost:80 ",
  " localhost:80",
  "localhost:80\n",
  "local host:80",
  "localhost:80/",
  "http://localhost:80",
  "a:b:80",
  "::1:80",
  "[::1]",
  "[::1]80",
  "[::1]:",
  "[::1:80",
  "::1]:80",
  "[]:80",
  "[localhost]:80",
  "[::1%eth0]:80",
  "localhost:\u0668\u0660",
  "unix:",
  "UNIX:/run/a.sock",
])("%j is no address", (text) => {
  expect(parseListenAddress(text)).toBeUndefined();
});

test.each<[address: ListenAddress, text: string]>([
  [tcp("127.0.0.1", 7450), "127.0.0.1:7450"],
  [tcp("localhost", 0), "localhost:0"],
  [tcp("::", 7450), "[::]:7450"],
  [tcp("::1", 1), "[::1]:1"],
  [unix("/run/a.sock"), "unix:/run/a.sock"],
  [unix("a.sock"), "unix:a.sock"],
])("%o is written as %s, and read back as the same", (address, text) => {
  expect(formatListenAddress(address)).toBe(text);
  expect(parseListenAddress(text)).toEqual(address);
});

test.each(["127.0.0.1:1", "127.255.0.7:1", "localhost:1", "[::1]:1", "unix:/run/a.sock"])(
  "%s is reached by this machine only",
  (text) => {
    const address = parseListenAddress(text);
    expect(address && isLocalAddress(address)).toBe(true);
  },
);

test.each([
  ":1",
  "0.0.0.0:1",
  "[::]:1",
  "10.0.0.1:1",
  "128.0.0.1:1",
  "1127.0.0.1:1",
  "127.1000.0.1:1",
  "127.0.1000.1:1",
  "127.0.0.1000:1",
  "127.0.0:1",
  "127.0.0.1.example:1",
  "example.127.0.0.1:1",
  "localhost.example:1",
  "notlocalhost:1",
  "[::2]:1",
  "[1::1]:1",
  "[::ffff:10.0.0.1]:1",
])("%s may be reached from elsewhere", (text) => {
  const address = parseListenAddress(text);
  expect(address && isLocalAddress(address)).toBe(false);
});
