import { spawn } from "node:child_process";
import { once } from "node:events";
import net, { type LookupFunction } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import { addressProblem, networksOf, parseUpstreamNetworks } from "../../src/model/upstream-networks.ts";
import type { HttpExchange } from "../../src/upstream/http-client.ts";
import { findFreePort } from "../support/free-port.ts";
import { answering, useScriptedServer } from "../support/scripted-server.ts";
import { useHttpClient } from "../support/use-http-client.ts";

const post = { path: "/", headers: {}, body: "{}", timeoutMs: 10_000 };

function rulesOf(origin: string, ...items: string[]) {
  const networks = parseUpstreamNetworks(items);
  if (networks === undefined) {
    throw new Error(`${items} are no networks`);
  }
  return (address: string) => addressProblem(address, networksOf(origin, networks));
}

interface FakeResolver {
  lookup: LookupFunction;
  asked: () => number;
}

/** A resolver that gives one answer after the other, then the last for ever. */
function useAnswers(...answers: string[][]): FakeResolver {
  let asked = 0;
  return {
    asked: () => asked,
    lookup(_, options, callback) {
      const addresses = answers[Math.min(asked, answers.length - 1)] ?? [];
      asked += 1;
      expect(options.all).toBe(true);
      callback(
        null,
        addresses.map((address) => ({ address, family: net.isIP(address) })),
      );
    },
  };
}

/** Counts connections at an address that answers each request and closes. Default: at a port that is free elsewhere, too. */
async function useCounter(
  host: string,
  wantedPort?: number,
): Promise<{ port: number; connections: () => number }> {
  const port = wantedPort ?? (await findFreePort());
  let connections = 0;
  const server = net.createServer((socket) => {
    connections += 1;
    socket.on("error", () => undefined);
    socket.once("data", () =>
      socket.end("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"),
    );
  });
  server.listen(port, host);
  await once(server, "listening");
  onTestFinished(() => void server.close());
  return { port, connections: () => connections };
}

function causeOf(exchange: HttpExchange): string {
  return exchange.kind === "notSent" ? exchange.cause : JSON.stringify(exchange);
}

describe("a name that resolves to an allowed address first and to a refused one later", () => {
  test.each([
    "127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::1",
    "169.254.169.254",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "fd00:ec2::254",
    "0.0.0.0",
    "::",
  ])("%s gets no connection", async (refused) => {
    const allowed = await useCounter("127.0.0.2");
    const denied = await useCounter("127.0.0.1", allowed.port);
    const origin = `http://orchestrator.example:${allowed.port}`;
    const { lookup, asked } = useAnswers(["127.0.0.2"], [refused]);
    const client = useHttpClient(origin, {
      addressProblem: rulesOf(origin, "public", "private", "127.0.0.2"),
      lookup,
    });
    expect(await client.post(post)).toMatchObject({ kind: "answered", status: 200 });
    const second = await client.post(post);
    expect(causeOf(second)).toMatch(`orchestrator.example resolves to ${refused}, which is `);
    expect(asked()).toBe(2);
    expect(denied.connections()).toBe(0);
    expect(allowed.connections()).toBe(1);
  });

  test("is asked for its addresses once per connection: what was checked is dialled", async () => {
    const server = await useCounter("127.0.0.2");
    const origin = `http://orchestrator.example:${server.port}`;
    // A second question would get a refused answer.
    const { lookup, asked } = useAnswers(["127.0.0.2"], ["127.0.0.1"]);
    const client = useHttpClient(origin, { addressProblem: rulesOf(origin, "127.0.0.2"), lookup });
    expect(await client.post(post)).toMatchObject({ kind: "answered" });
    expect(asked()).toBe(1);
  });
});

test("one refused address among several refuses them all", async () => {
  const allowed = await useCounter("127.0.0.2");
  const origin = `http://orchestrator.example:${allowed.port}`;
  for (const answer of [
    ["127.0.0.2", "169.254.169.254"],
    ["169.254.169.254", "127.0.0.2"],
    ["127.0.0.2", "::ffff:169.254.169.254"],
  ]) {
    const client = useHttpClient(origin, {
      addressProblem: rulesOf(origin, "127.0.0.2"),
      ...useAnswers(answer),
    });
    expect(causeOf(await client.post(post))).toContain("169.254.169.254, which is a link-local address");
  }
  expect(allowed.connections()).toBe(0);
});

describe("an address instead of a name", () => {
  test.each([
    "169.254.169.254",
    "2852039166",
    "0xA9FEA9FE",
    "0251.0376.0251.0376",
    "169.254.43518",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[64:ff9b::a9fe:a9fe]",
    "[fd00:ec2::254]",
    "[fe80::1]",
    "0.0.0.0",
    "0",
    "[::]",
    "224.0.0.1",
    "255.255.255.255",
  ])("%s is refused without a lookup", async (host) => {
    const { origin } = new URL(`http://${host}:9`);
    const { lookup, asked } = useAnswers(["127.0.0.1"]);
    const client = useHttpClient(origin, {
      addressProblem: rulesOf(origin, "public", "private", "loopback"),
      lookup,
    });
    expect(causeOf(await client.post(post))).toMatch(/ is an? .*, which is never called$/);
    expect(asked()).toBe(0);
  });

  test.each(["127.0.0.1", "[::ffff:127.0.0.1]"])("%s is called where it is the origin", async (host) => {
    const server = await useCounter("127.0.0.1");
    const { origin } = new URL(`http://${host}:${server.port}`);
    const client = useHttpClient(origin, { addressProblem: rulesOf(origin, "public") });
    expect(await client.post(post)).toMatchObject({ kind: "answered", status: 200 });
    expect(server.connections()).toBe(1);
  });
});

test("the same holds for TLS, before a byte of it", async () => {
  const denied = await useCounter("127.0.0.1");
  const origin = `https://orchestrator.example:${denied.port}`;
  const client = useHttpClient(origin, {
    addressProblem: rulesOf(origin, "public", "private"),
    ...useAnswers(["127.0.0.1"]),
  });
  expect(causeOf(await client.post(post))).toContain("127.0.0.1, which is a loopback address");
  expect(denied.connections()).toBe(0);
});

test("a name without addresses was not reached", async () => {
  const client = useHttpClient("http://empty.example", { ...useAnswers([]) });
  expect(causeOf(await client.post(post))).toBe("empty.example has no address");
});

test("a proxy of the environment is not used", async () => {
  const upstream = await useScriptedServer(answering(200, "{}"));
  const proxy = await useCounter("127.0.0.1");
  const code = `
    import { createHttpClient } from "./src/upstream/http-client.ts";
    const client = createHttpClient({ origin: ${JSON.stringify(upstream.origin)}, connections: 1,
      maxResponseBytes: 1000, connectTimeoutMs: 5000, addressProblem: () => undefined });
    const { kind, status } = await client.post({ path: "/", headers: {}, body: "{}", timeoutMs: 10_000 });
    console.log(kind, status);
    await client.close();`;
  const proxyUrl = `http://127.0.0.1:${proxy.port}`;
  const child = spawn(process.execPath, ["--input-type=module-typescript", "-e", code], {
    cwd: new URL("../..", import.meta.url),
    env: {
      HTTP_PROXY: proxyUrl,
      http_proxy: proxyUrl,
      HTTPS_PROXY: proxyUrl,
      ALL_PROXY: proxyUrl,
      NODE_USE_ENV_PROXY: "1",
    },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.on("data", (chunk) => {
    output += chunk;
  });
  await once(child, "close");
  expect(output).toBe("answered 200\n");
  expect(proxy.connections()).toBe(0);
});
