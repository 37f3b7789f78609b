import { expect, test } from "vitest";
import { closestName } from "../../src/config/closest-name.ts";
import { settings } from "../../src/config/settings.ts";
import { unknownVariables } from "../../src/config/unknown-names.ts";

function unknown(env: Record<string, string>): string[] {
  return unknownVariables(env, [settings]);
}

test("a variable that is misspelt is told, with the one that was meant", () => {
  expect(
    unknown({ TASKGATE_LEASE_DURATOIN: "1s", TASKGATE_LISTEN: "x", LEASE: "y", TASKGATE_X: "z" }),
  ).toEqual([
    "there is no setting TASKGATE_LEASE_DURATOIN (did you mean TASKGATE_LEASE_DURATION?)",
    "there is no setting TASKGATE_X",
  ]);
});

test("one that is empty, or that only clients read, is none", () => {
  expect(unknown({ TASKGATE_TOKEN: "", TASKGATE_ADDRESS: "127.0.0.1:7450" })).toEqual([]);
  expect(unknown({ TASKGATE_TOKEN: "t" })).toHaveLength(1);
});

test("a file is named for secrets only", () => {
  expect(unknown({ TASKGATE_AUTH_TOKEN_FILE: "x", TASKGATE_OUTPUT: "x" })).toEqual([]);
  expect(unknown({ TASKGATE_LISTEN_FILE: "x" })).toHaveLength(1);
});

test("what Kubernetes tells of services named taskgate is no setting", () => {
  const links = {
    TASKGATE_SERVICE_HOST: "10.0.0.1",
    TASKGATE_SERVICE_PORT: "7450",
    TASKGATE_SERVICE_PORT_GRPC: "7450",
    TASKGATE_PORT: "tcp://10.0.0.1:7450",
    TASKGATE_PORT_7450_TCP: "tcp://10.0.0.1:7450",
    TASKGATE_PORT_7450_TCP_PROTO: "tcp",
    TASKGATE_PORT_7450_TCP_PORT: "7450",
    TASKGATE_PORT_7450_TCP_ADDR: "10.0.0.1",
    TASKGATE_SHARED_SERVICE_HOST: "10.0.0.2",
    TASKGATE_SHARED_PORT: "tcp://10.0.0.2:7450",
  };
  expect(unknown(links)).toEqual([]);
  expect(unknown({ TASKGATE_PORT: "7450" })).toEqual(["there is no setting TASKGATE_PORT"]);
});

test.each([
  ["leaseduration", "leaseDuration"],
  ["lease_duration", "leaseDuration"],
  ["lease", undefined],
  ["logLvel", "logLevel"],
  ["tlsCret", "tlsCert"],
  ["", undefined],
  ["x".repeat(10_000), undefined],
])("%.20j may mean %j", (name, expected) => {
  expect(closestName(name, Object.keys(settings))).toBe(expected);
});
