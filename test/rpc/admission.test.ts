import { Code, createContextValues } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { Health } from "../../gen/grpc/health/v1/health_pb.ts";
import { ServerReflection } from "../../gen/grpc/reflection/v1/reflection_pb.ts";
import { CallbackService } from "../../gen/taskgate/v1/callback_pb.ts";
import { GatewayService, Role } from "../../gen/taskgate/v1/gateway_pb.ts";
import type { Caller, CallHead } from "../../src/model/access.ts";
import { createRoute } from "../../src/model/route.ts";
import { type AdmissionOptions, createAdmission, isLoopbackHost } from "../../src/rpc/admission.ts";
import { callerKey } from "../../src/rpc/caller.ts";
import { createFindCaller } from "../../src/rpc/find-caller.ts";
import { seenError } from "../support/clients.ts";

const worker: Caller = { name: "w", roles: [Role.WORKER] };
const client: Caller = { name: "c", roles: [Role.CLIENT] };
const operator: Caller = { name: "o", roles: [Role.WORKER, Role.CLIENT, Role.OPERATOR] };
const callerTokens = [
  { caller: worker, tokens: ["worker-token", "worker-token-next"] },
  { caller: client, tokens: ["client-token"] },
  { caller: operator, tokens: ["operator-token"] },
];
const findCaller = createFindCaller(
  callerTokens.map(({ caller, tokens }) => ({ caller, tokens: () => tokens })),
);
const routes = [
  createRoute(CallbackService, {}, Role.WORKER),
  createRoute(GatewayService, {}, (method) => (method === "GetInfo" ? "known" : Role.OPERATOR)),
  createRoute(Health, {}, "public"),
  createRoute(ServerReflection, {}, "known"),
];

function decide(options: Partial<AdmissionOptions>, head: Partial<CallHead>): string {
  const admit = createAdmission({
    routes,
    findCaller: undefined,
    allowedOrigins: [],
    loopbackHostOnly: false,
    ...options,
  });
  const values = createContextValues();
  try {
    admit(
      {
        path: "/taskgate.v1.CallbackService/CompleteCallback",
        host: "127.0.0.1:7450",
        origin: undefined,
        authorization: undefined,
        ...head,
      },
      values,
    );
    return values.get(callerKey).name;
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
    expect(decide({ findCaller }, { authorization })).toBe(expected);
  });

  test.each([
    ["/taskgate.v1.CallbackService/TrackCallback", "w", "no", "o"],
    ["/taskgate.v1.GatewayService/GetInfo", "w", "c", "o"],
    ["/taskgate.v1.GatewayService/Drain", "no", "no", "o"],
    ["/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "w", "c", "o"],
    ["/taskgate.v1.CallbackService/CompleteCallback/", "no", "no", "no"],
    ["/taskgate.v1.FourthService/Anything", "no", "no", "no"],
  ])("%s is for its roles", (path, ...expected) => {
    const seen = ["worker", "client", "operator"].map((name) =>
      decide({ findCaller }, { path, authorization: `Bearer ${name}-token` }),
    );
    expect(seen.map((it) => (it.startsWith("PermissionDenied") ? "no" : it))).toEqual(expected);
  });

  test("a health probe needs none, and is nobody", () => {
    const path = "/grpc.health.v1.Health/Check";
    expect(decide({ findCaller }, { path })).toBe("");
    expect(decide({ findCaller }, { path, authorization: "Bearer nonsense" })).toBe("");
  });
});

describe("without tokens", () => {
  test("everyone may do everything", () => {
    expect(decide({}, { path: "/taskgate.v1.GatewayService/Drain" })).toBe("everyone");
  });

  test("a page may call only from an origin that is allowed", () => {
    const options = { allowedOrigins: ["https://good.example"] };
    expect(decide(options, { origin: "https://good.example" })).toBe("everyone");
    expect(decide(options, { origin: "https://evil.example" })).toBe("PermissionDenied NOT_PERMITTED");
    expect(decide(options, { origin: "null" })).toBe("PermissionDenied NOT_PERMITTED");
  });

  test("a TCP listener takes only calls to a loopback name", () => {
    const options = { loopbackHostOnly: true };
    expect(decide(options, { host: "localhost:7450" })).toBe("everyone");
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
