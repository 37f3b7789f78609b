import { readFileSync } from "node:fs";
import http, { type IncomingHttpHeaders } from "node:http";
import https from "node:https";
import net, { type AddressInfo } from "node:net";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import type { HttpClient } from "../../src/upstream/http-client.ts";
import { answering, unusedOrigin, useScriptedServer } from "../support/scripted-server.ts";
import { tlsPath } from "../support/use-gateway.ts";
import { useHttpClient } from "../support/use-http-client.ts";

const pem = (name: string) => readFileSync(tlsPath(name), "utf8");
const free = () => undefined;

/** What came of a request, in a word. */
async function outcome(client: HttpClient, timeoutMs = 5000): Promise<string> {
  const exchange = await client.post({ path: "/a?b=c", headers: {}, body: "{}", timeoutMs });
  return exchange.kind === "answered" ? String(exchange.status) : `${exchange.kind}: ${exchange.cause}`;
}

async function listening(server: net.Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const sockets = new Set<net.Socket>();
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.once("close", () => sockets.delete(socket));
  });
  onTestFinished(async () => {
    const closed = new Promise((resolve) => server.close(resolve));
    for (const socket of sockets) {
      socket.destroy();
    }
    await closed;
  });
  return (server.address() as AddressInfo).port;
}

/** An upstream with TLS, whose certificate is the CA's. */
async function useTlsUpstream() {
  const seen: IncomingHttpHeaders[] = [];
  const server = https.createServer(
    { cert: pem("server.pem"), key: pem("server.key") },
    (request, response) => {
      seen.push(request.headers);
      request.resume().on("end", () => response.end("ok"));
    },
  );
  server.on("tlsClientError", () => undefined);
  return { seen, origin: `https://localhost:${await listening(server)}` };
}

/** A proxy that takes CONNECT and whole URLs, and says what it was asked. */
async function useProxy(credentials?: string) {
  const state = { credentials };
  const seen: string[] = [];
  const ports = new Set<number | undefined>();
  const isKnown = (headers: IncomingHttpHeaders) =>
    state.credentials === undefined ||
    headers["proxy-authorization"] === `Basic ${Buffer.from(state.credentials).toString("base64")}`;
  const server = http.createServer((request, response) => {
    seen.push(`${request.method} ${request.url}`);
    ports.add(request.socket.remotePort);
    if (!isKnown(request.headers)) {
      request.resume();
      response.writeHead(407).end();
      return;
    }
    const { "proxy-authorization": _, ...headers } = request.headers;
    const onward = http.request(request.url ?? "", { method: request.method ?? "", headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 0, answer.headers);
      answer.pipe(response);
    });
    request.pipe(onward);
  });
  server.on("connect", (request, socket: net.Socket) => {
    seen.push(`CONNECT ${request.url}`);
    if (!isKnown(request.headers)) {
      socket.end("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
      return;
    }
    const { port } = new URL(`http://${request.url}`);
    const onward = net.connect(Number(port), "127.0.0.1", () => {
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
      socket.pipe(onward).pipe(socket);
    });
    onward.on("error", () => socket.destroy());
    socket.on("error", () => onward.destroy());
  });
  // `ports`: of the connections on which requests came that were not to be tunnelled.
  return { state, seen, ports, origin: `http://127.0.0.1:${await listening(server)}` };
}

describe("a CA bundle", () => {
  test("is trusted, in place of the usual ones", async () => {
    const { origin } = await useTlsUpstream();
    expect(await outcome(useHttpClient(origin, { ca: () => pem("ca.pem") }))).toBe("200");
    expect(await outcome(useHttpClient(origin))).toMatch(/^notSent: unable to verify/);
    expect(await outcome(useHttpClient(origin, { ca: () => pem("self-signed.pem") }))).toMatch(/^notSent: /);
  });

  test("is another one from the next connection on", async () => {
    const { origin } = await useTlsUpstream();
    let ca = pem("self-signed.pem");
    const client = useHttpClient(origin, { ca: () => ca });
    expect(await outcome(client)).toMatch(/^notSent: /);
    ca = pem("ca.pem");
    expect(await outcome(client)).toBe("200");
  });
});

describe("a proxy", () => {
  test("is asked to connect to an upstream with TLS, and does not see what is said", async () => {
    const upstream = await useTlsUpstream();
    const proxy = await useProxy("user:pass:word");
    const client = useHttpClient(upstream.origin, {
      ca: () => pem("ca.pem"),
      proxy: { origin: proxy.origin, addressProblem: free, credentials: () => "user:pass:word" },
    });
    expect(await Promise.all([outcome(client), outcome(client)])).toEqual(["200", "200"]);
    expect(await outcome(client)).toBe("200");
    expect(new Set(proxy.seen)).toEqual(new Set([`CONNECT ${new URL(upstream.origin).host}`]));
    expect(upstream.seen).toHaveLength(3);
    expect(upstream.seen.map((headers) => headers["proxy-authorization"])).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
  });

  test("is given the whole URL of an upstream without TLS", async () => {
    const upstream = await useScriptedServer(answering(201));
    const proxy = await useProxy("u:p");
    const client = useHttpClient(upstream.origin, {
      proxy: { origin: proxy.origin, addressProblem: free, credentials: () => "u:p" },
    });
    expect(await outcome(client)).toBe("201");
    expect(proxy.seen).toEqual([`POST ${upstream.origin}/a?b=c`]);
    expect(upstream.seen.map(({ method, url, body }) => [method, url, body])).toEqual([
      ["POST", "/a?b=c", "{}"],
    ]);
  });

  test("that refuses a request without TLS has not passed it on, and its place is free once", async () => {
    const held = Promise.withResolvers<void>();
    const arrived = Promise.withResolvers<void>();
    const upstream = await useScriptedServer(async (_, response) => {
      arrived.resolve();
      await held.promise;
      response.end();
    });
    const proxy = await useProxy("u:new");
    let credentials = "u:old";
    const client = useHttpClient(upstream.origin, {
      connections: 1,
      proxy: { origin: proxy.origin, addressProblem: free, credentials: () => credentials },
    });
    expect(await outcome(client)).toBe("notSent: Proxy Authentication Required (407)");
    expect(upstream.seen).toEqual([]);
    credentials = "u:new";
    const first = outcome(client);
    await arrived.promise;
    // Were there two places, its turn would come when its time is over, and cost the connection.
    expect(await outcome(client, 50)).toBe("notSent: no answer within 50 ms");
    held.resolve();
    expect([await first, await outcome(client)]).toEqual(["200", "200"]);
    expect(proxy.ports.size).toBe(2);
  });

  test("gets other credentials, and other CA certificates count, from the next connection on", async () => {
    const upstream = await useTlsUpstream();
    const proxy = await useProxy("u:new");
    let credentials = "u:old";
    let ca = pem("self-signed.pem");
    const client = useHttpClient(upstream.origin, {
      ca: () => ca,
      proxy: { origin: proxy.origin, addressProblem: free, credentials: () => credentials },
    });
    expect(await outcome(client)).toMatch(/^notSent: .*407/);
    credentials = "u:new";
    expect(await outcome(client)).toMatch(/^notSent: /);
    ca = pem("ca.pem");
    expect(await outcome(client)).toBe("200");
    expect(upstream.seen).toHaveLength(1);
  });

  test("that is not there, or says nothing, has surely not sent anything", async () => {
    const { origin } = await useTlsUpstream();
    const through = (proxy: string) =>
      useHttpClient(origin, { connectTimeoutMs: 300, proxy: { origin: proxy, addressProblem: free } });
    expect(await outcome(through(await unusedOrigin()))).toMatch(/^notSent: .*ECONNREFUSED/);
    const silent = net.createServer();
    const client = through(`http://127.0.0.1:${await listening(silent)}`);
    expect(await outcome(client)).toMatch(/^notSent: /);
    expect(await outcome(client, 100)).toMatch(/^notSent: /);
    const closing = net.createServer((socket) => socket.destroy());
    expect(await outcome(through(`http://127.0.0.1:${await listening(closing)}`))).toMatch(/^notSent: /);
  });

  test("has an address that may be called", async () => {
    const proxy = await useProxy();
    const client = useHttpClient("http://upstream.example", {
      lookup: (_, __, callback) => callback(null, [{ address: "127.0.0.1", family: 4 }]),
      proxy: {
        origin: proxy.origin.replace("127.0.0.1", "proxy.example"),
        addressProblem: (address) => (address === "127.0.0.1" ? "is not to be called" : undefined),
      },
    });
    expect(await outcome(client)).toBe(
      "notSent: proxy.example resolves to 127.0.0.1, which is not to be called",
    );
    expect(proxy.seen).toEqual([]);
  });

  test("is not taken from the environment", async () => {
    const proxy = await useProxy();
    for (const name of ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"]) {
      vi.stubEnv(name, proxy.origin);
    }
    vi.stubEnv("NODE_USE_ENV_PROXY", "1");
    onTestFinished(() => {
      vi.unstubAllEnvs();
    });
    const plain = await useScriptedServer(answering(200));
    const secure = await useTlsUpstream();
    expect(await outcome(useHttpClient(plain.origin))).toBe("200");
    expect(await outcome(useHttpClient(secure.origin, { ca: () => pem("ca.pem") }))).toBe("200");
    expect(proxy.seen).toEqual([]);
  });
});
