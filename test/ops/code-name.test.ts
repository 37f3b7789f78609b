import { Code } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { codeName } from "../../src/ops/code-name.ts";

test.each([
  [0, "OK"],
  [Code.Canceled, "CANCELLED"],
  [Code.InvalidArgument, "INVALID_ARGUMENT"],
  [Code.DeadlineExceeded, "DEADLINE_EXCEEDED"],
  [Code.OutOfRange, "OUT_OF_RANGE"],
  [Code.Unauthenticated, "UNAUTHENTICATED"],
] as const)("code %i is %s, as gRPC spells it", (code, name) => {
  expect(codeName(code)).toBe(name);
});
