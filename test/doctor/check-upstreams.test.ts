import dns from "node:dns";
import { readFileSync } from "node:fs";
import type { AddressInfo, LookupFunction } from "node:net";
import tls from "node:tls";
import { describe, expect, onTestFinished, test } from "vitest";
import { judgeClock } from "../../src/doctor/ask.ts";
import { checkOrigin } from "../../src/doctor/check-origin.ts";
import { checkUpstreams } from "../../src/doctor/check-upstreams.ts";
import type { Finding } from "../../src/doctor/finding.ts";
import { sandboxSettings } from "../../src/sandbox-settings.ts";
import { answering, useScriptedServer } from "../support/scripted-server.ts";
import { configOf, tlsPath } from "../support/use-gateway.ts";
import { useSandbox } from "../support/use-sandbox.ts";

function lines(findings: readonly Finding[]): string[] {
  return findings.map(({ kind, subject }) => `${kind} ${subject}`);
}
const problems = (findings: readonly Finding[]) =>
  lines(findings).filter((line) => line.startsWith("problem"));

describe("upstreams", () => {
  test("that are well are well, and nothing has changed there", async () => {
    const sandbox = await useSandbox();
    const config = configOf({}, sandboxSettings(sandbox));
    const findings = await checkUpstreams(config, Date.now);
    expect(lines(findings)).toEqual([
      "ok orchestra TLS",
      "ok orchestra reachable",
      "ok orchestra clock",
      "unknown orchestra credentials",
      "ok orchestrator TLS",
      "ok orchestrator reachable",
      "ok orchestrator clock",
      "ok orchestrator credentials",
      "ok aidbox TLS",
      "ok aidbox reachable",
      "ok aidbox clock",
      "ok aidbox credentials",
    ]);
    const asked = [sandbox.orchestra, sandbox.orchestrator, sandbox.aidbox].flatMap(({ requests }) =>
      requests.map(({ method, path, body }) => `${method} ${path} ${body}`.trim()),
    );
    expect(asked).toEqual([
      "HEAD /",
      "GET /api/processes/status-counts",
      'POST /rpc {"method":"awf.task/status","params":{"id":"taskgate-doctor"}}',
    ]);
    expect(sandbox.orchestra.taskRuns.list()).toEqual([]);
    expect(sandbox.aidbox.tasks.list()).toEqual([]);
    const { requests } = sandbox.orchestra;
    expect(JSON.stringify(requests)).not.toContain(sandbox.orchestra.apiKey);
  });

  test.for([401, 403])("that refuse the credentials say so: %i", async (status) => {
    const { origin } = await useScriptedServer(answering(status, "no"));
    const secret = "canary-secret";
    const config = configOf({
      TASKGATE_ORCHESTRATOR_URL: origin,
      TASKGATE_ORCHESTRATOR_TOKEN: secret,
      TASKGATE_AIDBOX_URL: origin,
      TASKGATE_AIDBOX_CLIENT_ID: "me",
      TASKGATE_AIDBOX_CLIENT_SECRET: secret,
    });
    const findings = await checkUpstreams(config, Date.now);
    expect(problems(findings)).toEqual(["problem orchestrator credentials", "problem aidbox credentials"]);
    expect(JSON.stringify(findings)).not.toContain(secret);
  });

  test.for([
    [404, "problem"],
    [502, "warning"],
  ] as const)("whose answer says nothing of the credentials: %i is a %s", async ([status, kind]) => {
    const { origin } = await useScriptedServer(answering(status, "<html>"));
    const config = configOf({ TASKGATE_ORCHESTRATOR_URL: `${origin}/path` });
    expect(lines(await checkUpstreams(config, Date.now))).toContain(`${kind} orchestrator credentials`);
  });

  test("that are several are told apart, and one that is not there does not hide the others", async () => {
    const { origin } = await useScriptedServer(answering(200, "{}"));
    const config = configOf({
      TASKGATE_ORCHESTRATOR_URL: `${origin},http://127.0.0.1:9`,
      TASKGATE_ORCHESTRATOR_TOKEN: "a,b",
    });
    const findings = await checkUpstreams(config, Date.now);
    expect(problems(findings)).toEqual(["problem orchestrator http://127.0.0.1:9 reachable"]);
    expect(lines(findings)).toContain(`ok orchestrator ${origin} credentials`);
  });

  test("a name that has no address is told, and not asked", async () => {
    const config = configOf({ TASKGATE_ORCHESTRATOR_URL: "https://orchestrator.invalid" });
    expect(lines(await checkUpstreams(config, Date.now))).toEqual(["problem orchestrator DNS"]);
  });

  test("an address that the gateway would not call is told, and not asked", async () => {
    const config = configOf({
      TASKGATE_ORCHESTRATOR_URL: "http://169.254.169.254,http://10.0.0.1",
      TASKGATE_UPSTREAM_NETWORKS: "public",
    });
    const findings = await checkUpstreams(config, Date.now);
    expect(problems(findings)).toEqual([
      "problem orchestrator http://169.254.169.254 address",
      "problem orchestrator http://10.0.0.1 address",
    ]);
    expect(findings.length).toBeLessThanOrEqual(4);
  });

  test.for([
    ["http", "problem orchestrator reachable"],
    ["https", "problem orchestrator TLS"],
  ])(
    "a name that is another address by the time of the call gets no credential over %s",
    async ([scheme, line]) => {
      const { origin, seen } = await useScriptedServer(answering(200, "{}"));
      const config = configOf({
        TASKGATE_ORCHESTRATOR_URL: `${scheme}://orchestrator.example:${new URL(origin).port}`,
        TASKGATE_ORCHESTRATOR_TOKEN: "t",
        TASKGATE_UPSTREAM_NETWORKS: "127.0.0.2",
      });
      let asked = 0;
      const lookup: LookupFunction = (_, __, callback) => {
        asked += 1;
        callback(null, [{ address: asked === 1 ? "127.0.0.2" : "127.0.0.1", family: 4 }]);
      };
      const findings = await checkUpstreams(config, Date.now, lookup);
      expect(problems(findings)).toEqual([line]);
      expect(findings.at(-1)?.words).toContain("resolves to 127.0.0.1, which is a loopback address");
      expect([asked, seen.length]).toEqual([2, 0]);
    },
  );

  test("behind a proxy whose address the gateway would not call are not asked", async () => {
    const proxy = await useScriptedServer(answering(200, "{}"));
    const config = configOf({
      TASKGATE_ORCHESTRATOR_URL: "http://orchestrator.example",
      TASKGATE_ORCHESTRATOR_PROXY: `http://proxy.example:${new URL(proxy.origin).port}`,
      TASKGATE_UPSTREAM_NETWORKS: "public",
    });
    const lookup: LookupFunction = (_, __, callback) => callback(null, [{ address: "127.0.0.1", family: 4 }]);
    const [finding] = await checkUpstreams(config, Date.now, lookup);
    expect(finding).toMatchObject({ kind: "problem", subject: "orchestrator reachable" });
    expect(finding?.words).toContain("proxy.example resolves to 127.0.0.1, which is a loopback address");
    expect(proxy.seen).toEqual([]);
  });

  test("are asked through the proxy that the gateway goes through, with its credentials", async () => {
    const proxy = await useScriptedServer(answering(200, "{}"));
    const config = configOf({
      TASKGATE_ORCHESTRATOR_URL: "http://orchestrator.example",
      TASKGATE_ORCHESTRATOR_PROXY: proxy.origin,
      TASKGATE_ORCHESTRATOR_PROXY_CREDENTIALS: "user:pass",
    });
    expect(lines(await checkUpstreams(config, Date.now))).toContain("ok orchestrator credentials");
    expect(proxy.seen.map(({ url, headers }) => [url, headers["proxy-authorization"]])).toEqual([
      ["http://orchestrator.example/api/processes/status-counts", `Basic ${btoa("user:pass")}`],
    ]);
  });

  test("none at all is worth a word", async () => {
    expect(lines(await checkUpstreams(configOf({}), Date.now))).toEqual(["warning upstreams"]);
  });
});

describe("a certificate", () => {
  async function useTls(name: string): Promise<string> {
    const pem = (path: string) => readFileSync(tlsPath(path));
    const server = tls.createServer({ cert: pem(`${name}.pem`), key: pem(`${name}.key`) }, (socket) =>
      socket.end(),
    );
    server.on("tlsClientError", () => undefined);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => new Promise<void>((resolve) => void server.close(() => resolve())));
    return `https://localhost:${(server.address() as AddressInfo).port}`;
  }
  const ca = readFileSync(tlsPath("ca.pem"), "utf8");
  const reach = {
    upstream: "aidbox",
    timeoutMs: 5000,
    now: Date.now,
    addressProblem: () => undefined,
    lookup: dns.lookup as LookupFunction,
  };

  test("of a CA that is trusted is well", async () => {
    const origin = await useTls("server");
    expect(lines(await checkOrigin({ ...reach, origin, ca }))).toEqual(["ok aidbox DNS", "ok aidbox TLS"]);
  });

  test("of another CA is a problem with its reason", async () => {
    const findings = await checkOrigin({ ...reach, origin: await useTls("server") });
    expect(problems(findings)).toEqual(["problem aidbox TLS"]);
    expect(findings.at(-1)?.words).toMatch(/UNABLE_TO_VERIFY|UNABLE_TO_GET/);
  });

  test("that ends soon is a warning", async () => {
    const origin = await useTls("server");
    const certificate = new (await import("node:crypto")).X509Certificate(
      readFileSync(tlsPath("server.pem")),
    );
    const now = () => Date.parse(certificate.validTo) - 86_400_000;
    expect(lines(await checkOrigin({ ...reach, origin, ca, now })).at(-1)).toBe("warning aidbox TLS");
  });
});

describe("a clock", () => {
  const sentMs = Date.UTC(2026, 0, 1, 12);
  const kindOf = (seconds: number) =>
    judgeClock("aidbox", new Date(sentMs + seconds * 1000).toUTCString(), sentMs, sentMs + 500).kind;

  test("that differs by more than half a minute is a warning, ahead or behind", () => {
    expect([-32, -29, 0, 30, 31].map(kindOf)).toEqual(["warning", "ok", "ok", "ok", "warning"]);
  });

  test("that is not told is not known", () => {
    expect(judgeClock("aidbox", undefined, 0, 0).kind).toBe("unknown");
    expect(judgeClock("aidbox", "noon", 0, 0).kind).toBe("unknown");
  });
});
