import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import {
  type AdmissionOptions,
  type CallHead,
  createAdmission,
  isLoopbackHost,
} from "../../src/rpc/admission.ts";
import type { Caller } from "../../src/rpc/caller.ts";
import { roleOf } from "../../src/rpc/roles.ts";
import { seenError } from "../support/clients.ts";

const worker: Caller = { name: "w", roles: ["worker"] };
const client: Caller = { name: "c", roles: ["client"] };
const operator: Caller = { name: "o", roles: ["worker", "client", "operator"] };
const tokens = [
  { token: "worker-token", caller: worker },
  { token: "worker-token-next", caller: worker },
  { token: "client-token", caller: client },
  { token: "operator-token", caller: operator },
];

function decide(options: Partial<AdmissionOptions>, head: Partial<CallHead>): string {
  const admit = createAdmission({
    tokens: [],
    allowedOrigins: [],
    loopbackHostOnly: false,
    roleOf,
    ...options,
  });
  try {
    return admit({
      path: "/taskgate.v1.TaskStatusService/UpdateTask",
      host: "127.0.0.1:7450",
      origin: undefined,
      authorization: undefined,
      ...head,
    }).name;
  } catch (error) {
    const { code, reason, reasonTrailer } = seenError(error);
    expect(reasonTrailer).toBe(reason);
    return `${Code[code]} ${reason}`;
  }
}

describe("with tokens", () => {
  test.each([
    ["Bearer worker-token", "w"],
    ["bearer   worker-token-next", "w"],
    ["BEARER client-token", "PermissionDenied NOT_PERMITTED"],
    ["Bearer operator-token", "o"],
    ["Bearer nonsense", "Unauthenticated TOKEN_INVALID"],
    ["Bearer worker-token ", "Unauthenticated TOKEN_INVALID"],
    ["Bearer ", "Unauthenticated TOKEN_MISSING"],
    ["Basic d29ya2VyLXRva2Vu", "Unauthenticated TOKEN_MISSING"],
    [undefined, "Unauthenticated TOKEN_MISSING"],
  ])("%j may report: %s", (authorization, expected) => {
    expect(decide({ tokens }, { authorization })).toBe(expected);
  });

  test.each([
    ["/taskgate.v1.TaskStatusService/TrackRun", "w", "no", "o"],
    ["/taskgate.v1.CallbackService/CompleteCallback", "w", "no", "o"],
    ["/taskgate.v1.ExecutorService/Work", "w", "no", "o"],
    ["/taskgate.v1.ExecutorService/PollTasks", "w", "no", "o"],
    ["/taskgate.v1.ExecutorService/CreateTask", "no", "c", "o"],
    ["/taskgate.v1.ExecutorService/ListWorkflows", "no", "c", "o"],
    ["/taskgate.v1.GatewayService/GetInfo", "w", "c", "o"],
    ["/taskgate.v1.GatewayService/ListDeliveries", "no", "no", "o"],
    ["/taskgate.v1.GatewayService/Drain", "no", "no", "o"],
    ["/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "w", "c", "o"],
  ])("%s is for its roles", (path, ...expected) => {
    const seen = ["worker", "client", "operator"].map((name) =>
      decide({ tokens }, { path, authorization: `Bearer ${name}-token` }),
    );
    expect(seen.map((it) => (it.startsWith("PermissionDenied") ? "no" : it))).toEqual(expected);
  });

  test("a health probe needs none", () => {
    expect(decide({ tokens }, { path: "/grpc.health.v1.Health/Check" })).toBe("anonymous");
  });
});

describe("without tokens", () => {
  test("everyone may do everything", () => {
    expect(decide({}, { path: "/taskgate.v1.GatewayService/Drain" })).toBe("anonymous");
  });

  test("a page may call only from an origin that is allowed", () => {
    const options = { allowedOrigins: ["https://good.example"] };
    expect(decide(options, { origin: "https://good.example" })).toBe("anonymous");
    expect(decide(options, { origin: "https://evil.example" })).toBe("PermissionDenied NOT_PERMITTED");
    expect(decide(options, { origin: "null" })).toBe("PermissionDenied NOT_PERMITTED");
  });

  test("a TCP listener takes only calls to a loopback name", () => {
    const options = { loopbackHostOnly: true };
    expect(decide(options, { host: "localhost:7450" })).toBe("anonymous");
    expect(decide(options, { host: "evil.example:7450" })).toBe("PermissionDenied NOT_PERMITTED");
  });
});

test.each([
  ["localhost", true],
  ["LOCALHOST:1", true],
  ["api.localhost:80", true],
  ["127.0.0.1", true],
  ["127.9.9.9:7450", true],
  ["[::1]:7450", true],
  ["localhost.evil.example", false],
  ["127.0.0.1.evil.example", false],
  ["evil-localhost", false],
  ["10.0.0.1:7450", false],
  ["[::]:7450", false],
  ["169.254.169.254", false],
  ["", false],
])("%j names this machine: %s", (host, expected) => {
  expect(isLoopbackHost(host)).toBe(expected);
});
