import { expect, test } from "vitest";
import {
  capStreamDeadline,
  grantDeadline,
  grantedMs,
  parseGrpcTimeout,
} from "../../src/listener/deadline.ts";

const policy = { defaultMs: 1000, maxMs: 5000 };

test.each([
  [undefined, undefined],
  ["1H", 3_600_000],
  ["2M", 120_000],
  ["3S", 3000],
  ["4m", 4],
  ["5000u", 5],
  ["6000000n", 6],
  ["99999999S", 99_999_999_000],
  ["", "invalid"],
  ["1", "invalid"],
  ["1s", "invalid"],
  ["-1S", "invalid"],
  ["123456789S", "invalid"],
])("grpc-timeout %j is %j ms", (header, expected) => {
  expect(parseGrpcTimeout(header)).toBe(expected);
});

test("a call gets what it asks for, the default when it asks for nothing, and never more than the cap", () => {
  expect(grantedMs(undefined, policy)).toBe(1000);
  expect(grantedMs(0, policy)).toBe(0);
  expect(grantedMs(4000, policy)).toBe(4000);
  expect(grantedMs(6000, policy)).toBe(5000);
});

test.each([
  [{ "content-type": "application/grpc" }, { "grpc-timeout": "1000m" }],
  [{ "content-type": "application/grpc-web+proto", "grpc-timeout": "1H" }, { "grpc-timeout": "5000m" }],
  [{ "content-type": "application/grpc", "grpc-timeout": "2S" }, { "grpc-timeout": "2000m" }],
  [{ "content-type": "application/grpc", "grpc-timeout": "10u" }, { "grpc-timeout": "10000n" }],
  [{ "content-type": "application/grpc", "grpc-timeout": "soon" }, { "grpc-timeout": "soon" }],
  [{ "content-type": "application/json" }, { "connect-timeout-ms": "1000" }],
  [{ "content-type": "application/json", "connect-timeout-ms": "70000" }, { "connect-timeout-ms": "5000" }],
  [{ "content-type": "application/json", "connect-timeout-ms": "x" }, { "connect-timeout-ms": "x" }],
  [{}, { "connect-timeout-ms": "1000" }],
])("%j is granted %j", (headers: Record<string, string>, expected) => {
  const granted = { ...headers };
  grantDeadline(granted, policy);
  expect(granted).toEqual({ ...headers, ...expected });
});

test.each([
  [{ "content-type": "application/grpc" }, {}],
  [{ "content-type": "application/json" }, {}],
  [{ "content-type": "application/grpc", "grpc-timeout": "48H" }, { "grpc-timeout": "172800S" }],
  [{ "content-type": "application/grpc", "grpc-timeout": "99999999H" }, { "grpc-timeout": "2147483S" }],
  [{ "content-type": "application/grpc", "grpc-timeout": "0n" }, { "grpc-timeout": "0n" }],
  [{ "connect-timeout-ms": "9999999999" }, { "connect-timeout-ms": "2147483647" }],
])("%j of a stream becomes what a timer can hold, %j", (headers: Record<string, string>, expected) => {
  const capped = { ...headers };
  capStreamDeadline(capped);
  expect(capped).toEqual({ ...headers, ...expected });
});
