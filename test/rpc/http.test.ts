import { Code, ConnectError } from "@connectrpc/connect";
import { errorFromJsonBytes } from "@connectrpc/connect/protocol-connect";
import { findTrailerError } from "@connectrpc/connect/protocol-grpc";
import { describe, expect, test } from "vitest";
import { seenError } from "../support/clients.ts";
import { useGateway } from "../support/use-gateway.ts";
import { sendRaw, useHttp2Session } from "../support/use-listener.ts";

const infoPath = "/taskgate.v1.GatewayService/GetInfo";

const unimplemented = {
  code: Code.Unimplemented,
  message: "unknown service or method",
  reason: "NOT_IMPLEMENTED",
};

function connectError(text: string) {
  const error = errorFromJsonBytes(Buffer.from(text), undefined, new ConnectError("", Code.Unknown));
  return seenError(error);
}

async function useUrl(env: Record<string, string> = {}): Promise<string> {
  const { url } = await useGateway(env);
  return url;
}

describe("plain HTTP", () => {
  test("curl with JSON is enough for a call, and a GET for one without effects", async () => {
    const url = await useUrl();
    const posted = await fetch(url + infoPath, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: "{}",
    });
    expect(await posted.json()).toMatchObject({
      version: "0.0.0-test",
      durable: true,
      roles: ["ROLE_WORKER", "ROLE_CLIENT", "ROLE_OPERATOR"],
    });
    const got = await fetch(`${url}${infoPath}?encoding=json&message=%7B%7D`);
    expect(await got.json()).toMatchObject({ version: "0.0.0-test" });
  });

  test("JSON that is none, or has a field that is not there, gets an answer", async () => {
    const url = await useUrl();
    const broken = await fetch(url + infoPath, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: "{",
    });
    expect([broken.status, await broken.json()]).toMatchObject([400, { code: "invalid_argument" }]);
    const form = await fetch(url + infoPath, { method: "POST", body: new URLSearchParams({ a: "b" }) });
    expect(form.status).toBe(415);
  });

  test.for([
    [
      "UpdateTask",
      { status: "TASK_RUN_STATUS_ODD" },
      { status: 'is "TASK_RUN_STATUS_ODD", which is not a member of the enum' },
    ],
    ["UpdateTask", { attempt: "x" }, { attempt: 'is wrong: expected number (int32), got "x"' }],
    ["UpdateTask", { odd: 1 }, { odd: "is unknown" }],
    ["SetOutput", { value: 1, valueJson: "1" }, undefined],
  ] as const)(
    "JSON of %s that does not fit, %j, gets the field's name: %j",
    async ([rpc, body, violations]) => {
      const url = await useUrl();
      const answer = await fetch(`${url}/taskgate.v1.TaskStatusService/${rpc}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body),
      });
      const error = connectError(await answer.text());
      expect([answer.status, error]).toMatchObject([
        400,
        { code: Code.InvalidArgument, reason: "INVALID_REQUEST", violations: violations ?? {} },
      ]);
      for (const field of Object.keys(violations ?? {})) {
        expect(error.message).toMatch(new RegExp(`^${field} `));
      }
    },
  );

  test("an unknown method is said in the words of each protocol", async () => {
    const url = await useUrl();
    const unknown = `${url}/taskgate.v1.GatewayService/Nothing`;
    const json = await fetch(unknown, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: "{}",
    });
    expect([json.status, connectError(await json.text())]).toMatchObject([404, unimplemented]);
    expect(json.headers.get("taskgate-reason")).toBe("NOT_IMPLEMENTED");
    const web = await fetch(unknown, {
      method: "POST",
      headers: { "content-type": "application/grpc-web+proto" },
      body: new Uint8Array(5),
    });
    expect([web.status, seenError(findTrailerError(web.headers))]).toMatchObject([200, unimplemented]);
    expect(web.headers.get("taskgate-reason")).toBe("NOT_IMPLEMENTED");
    const grpc = await sendRaw(
      useHttp2Session(url),
      { ":path": "/a.b/C", "content-type": "application/grpc" },
      Buffer.alloc(5),
    );
    expect(grpc.headers).toMatchObject({ ":status": 200, "taskgate-reason": "NOT_IMPLEMENTED" });
    const status = ["grpc-status", "grpc-message", "grpc-status-details-bin"];
    const trailer = new Headers(status.map((name) => [name, String(grpc.headers[name])]));
    expect(seenError(findTrailerError(trailer))).toMatchObject(unimplemented);
    const page = await fetch(url);
    expect([page.status, await page.text()]).toEqual([
      404,
      "taskgate serves gRPC, gRPC-Web and Connect here, and no pages.\n",
    ]);
  });

  test("a page's name that resolves here is refused, and so is a page's origin", async () => {
    const url = await useUrl();
    const rebound = await sendRaw(
      useHttp2Session(url),
      { ":path": infoPath, ":authority": "evil.example", "content-type": "application/grpc" },
      Buffer.alloc(5),
    );
    expect(rebound.headers).toMatchObject({ "grpc-status": "7", "taskgate-reason": "NOT_PERMITTED" });
    const page = await fetch(url + infoPath, {
      method: "POST",
      headers: { "content-type": "application/json", origin: "https://evil.example" },
      body: "{}",
    });
    expect([page.status, page.headers.get("access-control-allow-origin")]).toEqual([403, null]);
  });
});

describe("a page of an allowed origin", () => {
  const origin = "https://good.example";

  test("is told by the preflight what it may send and read", async () => {
    const url = await useUrl({ TASKGATE_ALLOWED_ORIGINS: origin });
    const preflight = await fetch(url + infoPath, {
      method: "OPTIONS",
      headers: {
        origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type,x-grpc-web,authorization",
      },
    });
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get("access-control-allow-origin")).toBe(origin);
    expect(preflight.headers.get("access-control-allow-headers")?.toLowerCase()).toMatch(
      /content-type.*x-grpc-web.*authorization/,
    );
    const refused = await fetch(url + infoPath, {
      method: "OPTIONS",
      headers: { origin: "https://evil.example", "access-control-request-method": "POST" },
    });
    expect([refused.status, refused.headers.get("access-control-allow-origin")]).toEqual([403, null]);
  });

  test("may send a token and a trace, and nothing by itself", async () => {
    const url = await useUrl({ TASKGATE_ALLOWED_ORIGINS: `https://other.example, ${origin}` });
    const { headers } = await fetch(url + infoPath, {
      method: "OPTIONS",
      headers: { origin, "access-control-request-method": "POST" },
    });
    const listOf = (name: string) => (headers.get(name) ?? "").toLowerCase().split(", ");
    expect(listOf("access-control-allow-headers")).toEqual(
      expect.arrayContaining([
        "authorization",
        "content-type",
        "grpc-timeout",
        "connect-protocol-version",
        "connect-timeout-ms",
        "x-grpc-web",
        "x-user-agent",
        "traceparent",
      ]),
    );
    expect(listOf("access-control-allow-methods")).toEqual(["post", "get"]);
    expect(headers.get("access-control-allow-credentials")).toBeNull();
    expect(headers.get("vary")).toBe("origin");
    expect(Number(headers.get("access-control-max-age"))).toBeGreaterThan(0);
  });

  test.each([
    "null",
    "https://good.example.evil.example",
    "http://good.example",
    "https://GOOD.example",
    "*",
  ])("is not one of origin %s", async (other) => {
    const url = await useUrl({ TASKGATE_ALLOWED_ORIGINS: origin, TASKGATE_AUTH_TOKEN: "t" });
    const preflight = await fetch(url + infoPath, {
      method: "OPTIONS",
      headers: { origin: other, "access-control-request-method": "POST" },
    });
    expect([preflight.status, preflight.headers.get("access-control-allow-origin")]).toEqual([403, null]);
    // What is no page may say any origin; a page would not be shown the answer.
    const answer = await fetch(url + infoPath, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: "Bearer t", origin: other },
      body: "{}",
    });
    expect([answer.status, answer.headers.get("access-control-allow-origin")]).toEqual([200, null]);
    expect(answer.headers.get("vary")).toBe("origin");
  });

  test("may read all of a gRPC-Web answer, over HTTP/2 as well", async () => {
    const url = await useUrl({ TASKGATE_ALLOWED_ORIGINS: origin });
    const answer = await sendRaw(
      useHttp2Session(url),
      { ":path": infoPath, "content-type": "application/grpc-web+proto", "x-grpc-web": "1", origin },
      Buffer.alloc(5),
    );
    expect(answer.headers).toMatchObject({
      ":status": 200,
      "access-control-allow-origin": origin,
      vary: "origin",
    });
    const exposed = String(answer.headers["access-control-expose-headers"]).toLowerCase().split(", ");
    expect(exposed).toEqual(
      expect.arrayContaining(["grpc-status", "grpc-message", "grpc-status-details-bin", "taskgate-reason"]),
    );
    expect(answer.body.toString("latin1")).toContain("grpc-status: 0");
  });

  test("may call, and may read the reason of an error", async () => {
    const url = await useUrl({ TASKGATE_ALLOWED_ORIGINS: origin });
    const answer = await fetch(`${url}/taskgate.v1.GatewayService/GetDelivery`, {
      method: "POST",
      headers: { "content-type": "application/json", origin },
      body: '{"deliveryId":"none"}',
    });
    expect(answer.headers.get("access-control-allow-origin")).toBe(origin);
    expect(answer.headers.get("access-control-expose-headers")).toContain("taskgate-reason");
    expect(answer.headers.get("taskgate-reason")).toBe("DELIVERY_UNKNOWN");
  });
});

describe("probes", () => {
  test("say started, alive and ready, without an upstream being asked", async () => {
    const { opsUrl, gateway } = await useGateway({
      ORCHESTRA_API_KEY: "k",
      ORCHESTRA_WEBHOOK_URL: "http://127.0.0.1:9",
    });
    for (const path of ["/startupz", "/livez", "/readyz"]) {
      const probe = await fetch(opsUrl + path);
      expect([path, probe.status, await probe.text()]).toEqual([path, 200, "ok\n"]);
    }
    expect((await fetch(`${opsUrl}/nothing`)).status).toBe(404);
    expect((await fetch(`${opsUrl}/livez`, { method: "POST" })).status).toBe(405);
    await gateway.stop();
    await expect(fetch(`${opsUrl}/livez`)).rejects.toThrow();
  });
});
