import { describe, expect, test } from "vitest";
import { useGateway } from "../support/use-gateway.ts";
import { sendRaw, useHttp2Session } from "../support/use-listener.ts";

const infoPath = "/taskgate.v1.GatewayService/GetInfo";

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

  test("an unknown method is said in the words of each protocol", async () => {
    const url = await useUrl();
    const unknown = `${url}/taskgate.v1.GatewayService/Nothing`;
    const json = await fetch(unknown, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: "{}",
    });
    expect([json.status, await json.json()]).toEqual([
      404,
      { code: "unimplemented", message: "unknown service or method" },
    ]);
    const web = await fetch(unknown, {
      method: "POST",
      headers: { "content-type": "application/grpc-web+proto" },
      body: new Uint8Array(5),
    });
    expect([web.status, web.headers.get("grpc-status")]).toEqual([200, "12"]);
    const grpc = await sendRaw(
      useHttp2Session(url),
      { ":path": "/a.b/C", "content-type": "application/grpc" },
      Buffer.alloc(5),
    );
    expect(grpc.headers).toMatchObject({ ":status": 200, "grpc-status": "12" });
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

  test("may call, and may read the reason of an error", async () => {
    const url = await useUrl({ TASKGATE_ALLOWED_ORIGINS: origin });
    const answer = await fetch(`${url}/taskgate.v1.GatewayService/RetryDelivery`, {
      method: "POST",
      headers: { "content-type": "application/json", origin },
      body: '{"deliveryId":"9"}',
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
