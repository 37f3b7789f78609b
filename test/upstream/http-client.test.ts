import dns from "node:dns";
import { readFileSync } from "node:fs";
import type http from "node:http";
import { createServer as createTlsServer } from "node:tls";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import type { HttpClient, HttpExchange, HttpPost } from "../../src/upstream/http-client.ts";
import { answering, unusedOrigin, useScriptedServer } from "../support/scripted-server.ts";
import { useHttpClient } from "../support/use-http-client.ts";
import { answeringBytes, onRequest, useRawServer } from "./raw-server.ts";

const ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const answeredOk: HttpExchange = {
  kind: "answered",
  status: 200,
  headers: { "content-length": "2" },
  body: "ok",
};

function post(client: HttpClient, request: Partial<HttpPost> = {}): Promise<HttpExchange> {
  return client.post({ path: "/", headers: {}, body: "{}", timeoutMs: 10_000, ...request });
}

/** What an exchange is, and whether its time was over, without what differs from run to run. */
function kindOf(exchange: HttpExchange): unknown {
  return exchange.kind === "answered"
    ? exchange.status
    : { kind: exchange.kind, timeWasOver: /^no answer within \d+ ms$/.test(exchange.cause) };
}

const notSent = { kind: "notSent", timeWasOver: false };
const notSentInTime = { kind: "notSent", timeWasOver: true };
const broken = { kind: "broken", timeWasOver: false };
const brokenOffInTime = { kind: "broken", timeWasOver: true };

const endedByCaller = "the call was ended by its caller";

describe("a request", () => {
  test("is exactly what it was asked to be, says who asks, and nothing else", async () => {
    const server = await useRawServer(answeringBytes(ok));
    const client = useHttpClient(`http://${server.host}`);
    const exchange = await post(client, {
      path: "/a//b/../c?x=%2F&y=ü#z",
      headers: { authorization: "Bearer k", "x-two": "a  b" },
      body: '{"a":"é"}',
    });
    expect(exchange).toEqual(answeredOk);
    expect(server.received).toEqual([
      [
        "POST /a//b/../c?x=%2F&y=\u00fc#z HTTP/1.1",
        `host: ${server.host}`,
        "connection: keep-alive",
        "accept: */*",
        "user-agent: taskgate/1.2.3",
        "authorization: Bearer k",
        "x-two: a  b",
        "content-length: 10",
        "",
        '{"a":"Ã©"}',
      ].join("\r\n"),
    ]);
  });

  test("without a body says that its length is 0", async () => {
    const server = await useRawServer(answeringBytes(ok));
    await post(useHttpClient(`http://${server.host}`), { body: "" });
    expect(server.received[0]).toMatch(/^POST \/ HTTP\/1\.1\r\n[\s\S]*\r\ncontent-length: 0\r\n\r\n$/);
  });

  test("of several megabytes arrives whole", async () => {
    const server = await useScriptedServer(answering(200));
    const body = JSON.stringify({ data: "日本😀".repeat(300_000) });
    expect(kindOf(await post(useHttpClient(server.origin), { body }))).toBe(200);
    expect(server.seen[0]?.body === body).toBe(true);
  });

  test.each<[what: string, request: Partial<HttpPost>]>([
    ["a new line in a header", { headers: { authorization: "Bearer k\r\nx-evil: 1" } }],
    ["a carriage return in a header", { headers: { authorization: "Bearer k\rx" } }],
    ["a line feed in a header", { headers: { authorization: "Bearer k\nx" } }],
    ["a NUL in a header", { headers: { authorization: "Bearer k\0" } }],
    ["a letter beyond Latin-1 in a header", { headers: { authorization: "Bearer \u0119" } }],
    ["a new line in a header's name", { headers: { "x\r\nx-evil": "1" } }],
    ["a blank in a header's name", { headers: { "x y": "1" } }],
    ["a colon in a header's name", { headers: { "x:": "1" } }],
    ["a length of its own", { headers: { "content-length": "1" } }],
    ["a transfer coding of its own", { headers: { "transfer-encoding": "chunked" } }],
    ["a new line in the path", { path: "/ HTTP/1.1\r\nhost: evil\r\n\r\n" }],
    ["a blank in the path", { path: "/a b" }],
    ["a tab in the path", { path: "/a\tb" }],
    ["a NUL in the path", { path: "/a\0" }],
    ["a letter beyond Latin-1 in the path", { path: "/\u2215" }],
    ["a path without a slash", { path: "a" }],
    ["no path", { path: "" }],
  ])("with %s is refused before a byte of it leaves", async (_, request) => {
    const server = await useRawServer(answeringBytes(ok));
    const client = useHttpClient(`http://${server.host}`);
    const exchange = await post(client, request);
    expect(kindOf(exchange)).toEqual(notSent);
    expect(JSON.stringify(exchange)).not.toContain("evil");
    expect(await post(client)).toEqual(answeredOk);
    expect(server.received.join("")).toMatch(/^POST \/ HTTP\/1\.1\r\n/);
    expect(server.received.join("")).not.toContain("evil");
  });
});

describe("an answer", () => {
  test.each([200, 201, 202, 204, 299, 300, 304, 400, 401, 403, 404, 409, 418, 422, 429, 500, 503, 599, 999])(
    "with status %i is an answer",
    async (status) => {
      const server = await useRawServer(answeringBytes(`HTTP/1.1 ${status} x\r\ncontent-length: 0\r\n\r\n`));
      expect(await post(useHttpClient(`http://${server.host}`))).toEqual({
        kind: "answered",
        status,
        headers: { "content-length": "0" },
        body: "",
      });
    },
  );

  test.each([301, 302, 303, 307, 308])("that redirects with %i is not followed", async (status) => {
    const other = await useScriptedServer(answering(200, "{}"));
    const server = await useScriptedServer(answering(status, "moved", { location: `${other.origin}/` }));
    const exchange = await post(useHttpClient(server.origin));
    expect(exchange).toMatchObject({
      kind: "answered",
      status,
      headers: { location: `${other.origin}/` },
      body: "moved",
    });
    expect([server.seen.length, other.seen.length]).toEqual([1, 0]);
  });

  test("has its headers by lower-case name, the first where one comes twice", async () => {
    const head =
      "HTTP/1.1 200 OK\r\nX-One: 1\r\nx-two: a\r\nX-Two: b\r\n__proto__: x\r\nContent-Length: 0\r\n\r\n";
    const server = await useRawServer(answeringBytes(head));
    const exchange = await post(useHttpClient(`http://${server.host}`));
    const headers = exchange.kind === "answered" ? Object.entries(exchange.headers) : [];
    expect(headers).toEqual([
      ["x-one", "1"],
      ["x-two", "a"],
      ["__proto__", "x"],
      ["content-length", "0"],
    ]);
  });

  test.each([
    ["with a length", `HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n`, "a\xc3\xa9\xc3\xa9", false],
    [
      "in chunks",
      "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
      "2\r\na\xc3\r\n3\r\n\xa9\xc3\xa9\r\n0\r\n\r\n",
      false,
    ],
    ["until the end of the connection", "HTTP/1.1 200 OK\r\n\r\n", "a\xc3\xa9\xc3\xa9", true],
  ])("%s is read whole, also when it comes byte by byte", async (_, head, body, isEnd) => {
    const server = await useRawServer(
      onRequest(async (socket) => {
        for (const byte of head + body) {
          socket.write(byte, "latin1");
          await new Promise((resolve) => setImmediate(resolve));
        }
        if (isEnd) {
          socket.end();
        }
      }),
    );
    expect(await post(useHttpClient(`http://${server.host}`))).toMatchObject({
      kind: "answered",
      status: 200,
      body: "aéé",
    });
  });

  test("that is no UTF-8 is read with replacement characters", async () => {
    const server = await useRawServer(answeringBytes("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\na\xff!"));
    expect(await post(useHttpClient(`http://${server.host}`))).toMatchObject({ body: "a\ufffd!" });
  });

  test("that begins with a byte order mark is read without it", async () => {
    const head = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
    const server = await useRawServer(answeringBytes(`${head}\xef\xbb\xbfok`));
    expect(await post(useHttpClient(`http://${server.host}`))).toMatchObject({ status: 200, body: "ok" });
  });

  test("may come after hints", async () => {
    const hints = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n";
    const server = await useRawServer(answeringBytes(hints + ok));
    expect(await post(useHttpClient(`http://${server.host}`))).toEqual(answeredOk);
  });

  test.each(["identity", "Identity", ""])("with the content-encoding %j is not encoded", async (coding) => {
    const head = `HTTP/1.1 200 OK\r\ncontent-encoding: ${coding}\r\ncontent-length: 2\r\n\r\nok`;
    const server = await useRawServer(answeringBytes(head));
    expect(await post(useHttpClient(`http://${server.host}`))).toMatchObject({ status: 200, body: "ok" });
  });

  test.each(["gzip", "br", "deflate", "zstd", "x-unknown", "identity, gzip"])(
    "with the content-encoding %s is broken: nobody asked for it",
    async (coding) => {
      const server = await useScriptedServer(answering(200, "x", { "content-encoding": coding }));
      expect(await post(useHttpClient(server.origin))).toEqual({
        kind: "broken",
        cause: "the answer has a content-encoding, which was not asked for",
      });
    },
  );

  test("with a content-encoding of any length is broken, and none of it is repeated", async () => {
    const server = await useScriptedServer(answering(200, "x", { "content-encoding": "x".repeat(5000) }));
    expect(await post(useHttpClient(server.origin))).toMatchObject({
      cause: "the answer has a content-encoding, which was not asked for",
    });
  });

  test("of the largest size is read, and one byte more is broken", async () => {
    const server = await useScriptedServer(({ url }, response) => {
      response.end("x".repeat(Number(url.slice(1))));
    });
    const client = useHttpClient(server.origin, { maxResponseBytes: 100_000 });
    expect(await post(client, { path: "/100000" })).toMatchObject({ status: 200, body: "x".repeat(100_000) });
    expect(await post(client, { path: "/100001" })).toEqual({
      kind: "broken",
      cause: "the answer is larger than 100000 bytes",
    });
  });

  test("that never ends is broken off, and its connection closed", async () => {
    const server = await useScriptedServer((_, response) => {
      const timer = setInterval(() => response.write("x".repeat(10_000)), 1);
      response.on("close", () => clearInterval(timer));
    });
    const client = useHttpClient(server.origin, { maxResponseBytes: 100_000 });
    expect(await post(client)).toEqual({
      kind: "broken",
      cause: "the answer is larger than 100000 bytes",
    });
  });

  test.each([
    ["a body that is shorter than its length", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"],
    [
      "a chunk that is shorter than its length",
      "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nabc",
    ],
    ["a missing last chunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"],
    ["a chunk without a length", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nabc\r\n\r\n"],
    ["half a head", "HTTP/1.1 200 OK\r\ncontent-le"],
    ["half a status line", "HTTP/1.1 20"],
    ["another protocol", "SSH-2.0-OpenSSH_9.6\r\n"],
    ["an endless header", `HTTP/1.1 200 OK\r\nx: ${"y".repeat(100_000)}`],
    ["two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"],
    ["an upgrade", "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"],
    ["nothing", ""],
  ])("that is %s is broken", async (_, bytes) => {
    const server = await useRawServer(onRequest((socket) => socket.end(bytes, "latin1")));
    expect(kindOf(await post(useHttpClient(`http://${server.host}`)))).toEqual(broken);
  });

  test.each([
    ["after the request", ""],
    ["within the head", "HTTP/1.1 200 OK\r\n"],
    ["within the body", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"],
  ])("that is cut off by a reset %s is broken", async (_, bytes) => {
    const server = await useRawServer(
      onRequest((socket) => {
        socket.write(bytes, () => socket.resetAndDestroy());
      }),
    );
    expect(kindOf(await post(useHttpClient(`http://${server.host}`)))).toEqual(broken);
  });

  test("that is cut off by a reset within the request is broken", async () => {
    const server = await useRawServer((socket) => {
      socket.once("data", () => socket.resetAndDestroy());
    });
    const body = "x".repeat(8 * 1024 * 1024);
    expect(kindOf(await post(useHttpClient(`http://${server.host}`), { body }))).toEqual(broken);
  });
});

describe("no connection", () => {
  test("nobody listens: not sent, and said in one line", async () => {
    const origin = await unusedOrigin();
    expect(await post(useHttpClient(origin))).toEqual({
      kind: "notSent",
      cause: `connect ECONNREFUSED ${new URL(origin).host}`,
    });
  });

  test("nobody listens at any of a host's addresses: not sent, and said why", async () => {
    const original = dns.lookup;
    onTestFinished(() => {
      dns.lookup = original;
    });
    const lookup = (
      _host: string,
      _options: dns.LookupAllOptions,
      callback: (error: Error | null, addresses: dns.LookupAddress[]) => void,
    ): void => {
      callback(null, [
        { address: "127.0.0.1", family: 4 },
        { address: "127.0.0.2", family: 4 },
      ]);
    };
    dns.lookup = lookup as typeof dns.lookup;
    const { port } = new URL(await unusedOrigin());
    expect(await post(useHttpClient(`http://two.example:${port}`))).toEqual({
      kind: "notSent",
      cause: "no connection (ECONNREFUSED)",
    });
  });

  test("no such host: not sent", async () => {
    const exchange = await post(useHttpClient("http://nowhere.invalid"));
    expect(kindOf(exchange)).toEqual(notSent);
    expect(exchange).toMatchObject({
      cause: expect.stringMatching(/^getaddrinfo E[A-Z_]+ nowhere\.invalid$/),
    });
  });

  test("TLS to a port that speaks none: not sent, and said in one line", async () => {
    const server = await useRawServer((socket) => {
      socket.once("data", () => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
    });
    expect(await post(useHttpClient(`https://${server.host}`), { body: "payload" })).toEqual({
      kind: "notSent",
      cause: "wrong version number (ERR_SSL_WRONG_VERSION_NUMBER)",
    });
    expect(server.received.join("")).not.toContain("payload");
  });

  test("TLS to a port that hangs up: not sent", async () => {
    const server = await useRawServer((socket) => {
      socket.once("data", () => socket.resetAndDestroy());
    });
    expect(kindOf(await post(useHttpClient(`https://${server.host}`)))).toEqual(notSent);
  });

  test("TLS with a certificate that nobody vouches for: not sent", async () => {
    const pem = (name: string) => readFileSync(new URL(`../support/tls/${name}`, import.meta.url));
    let received = 0;
    const server = createTlsServer({ cert: pem("server.pem"), key: pem("server.key") }, (socket) => {
      socket.on("data", (chunk) => {
        received += chunk.length;
      });
    });
    server.on("tlsClientError", () => undefined);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => new Promise<void>((resolve) => server.close(() => resolve())));
    const address = server.address();
    const port = typeof address === "object" ? address?.port : undefined;
    const exchange = await post(useHttpClient(`https://localhost:${port}`));
    expect(kindOf(exchange)).toEqual(notSent);
    expect(exchange).toMatchObject({ cause: expect.stringContaining("(UNABLE_TO_VERIFY_LEAF_SIGNATURE)") });
    expect(received).toBe(0);
  });

  test("TLS that is never answered: not sent, when the request's time is over", async () => {
    const server = await useRawServer(() => undefined);
    expect(await post(useHttpClient(`https://${server.host}`), { timeoutMs: 150 })).toEqual({
      kind: "notSent",
      cause: "no answer within 150 ms",
    });
  });

  test("TLS that is never answered: not sent, when the connection's time is over", async () => {
    const server = await useRawServer(() => undefined);
    const client = useHttpClient(`https://${server.host}`, { connectTimeoutMs: 100 });
    expect(kindOf(await post(client))).toEqual(notSent);
  });

  test("the cause never holds a path, a header or a body", async () => {
    const server = await useRawServer((socket) => {
      socket.once("data", () => socket.end("nonsense"));
    });
    const origins = [
      await unusedOrigin(),
      "http://nowhere.invalid",
      `http://${server.host}`,
      `https://${server.host}`,
    ];
    const secret = "s3cret";
    for (const origin of origins) {
      const exchange = await post(useHttpClient(origin), {
        path: `/${secret}?${secret}`,
        headers: { authorization: `Bearer ${secret}` },
        body: secret,
      });
      expect(kindOf(exchange)).not.toBe(200);
      expect(JSON.stringify(exchange)).not.toContain(secret);
    }
  });
});

describe("the time of a request", () => {
  test.each<[what: string, write: (response: http.ServerResponse) => void]>([
    ["silence", () => undefined],
    ["a head and then silence", (response) => response.flushHeaders()],
    [
      "a body that drips",
      (response) => {
        const timer = setInterval(() => response.write("x"), 10);
        response.on("close", () => clearInterval(timer));
      },
    ],
  ])("ends %s, and the connection with it", async (_, write) => {
    const closed = Promise.withResolvers<void>();
    const server = await useScriptedServer((_request, response) => {
      response.on("close", closed.resolve);
      write(response);
    });
    const startMs = performance.now();
    expect(await post(useHttpClient(server.origin), { timeoutMs: 300 })).toEqual({
      kind: "broken",
      cause: "no answer within 300 ms",
    });
    expect(performance.now() - startMs).toBeGreaterThan(250);
    expect(performance.now() - startMs).toBeLessThan(5000);
    await closed.promise;
  });

  test("ends a head that drips", async () => {
    const server = await useRawServer(
      onRequest((socket) => {
        socket.write("HTTP/1.1 200 OK\r\nx: ");
        const timer = setInterval(() => socket.write("y"), 10);
        socket.on("close", () => clearInterval(timer));
      }),
    );
    const client = useHttpClient(`http://${server.host}`);
    expect(kindOf(await post(client, { timeoutMs: 300 }))).toEqual(brokenOffInTime);
  });
});

describe("a caller that leaves", () => {
  test("before the request: not sent, and no connection is made for it", async () => {
    const server = await useRawServer(answeringBytes(ok));
    const client = useHttpClient(`http://${server.host}`, { connections: 1 });
    expect(await post(client, { signal: AbortSignal.abort(), body: "left" })).toEqual({
      kind: "notSent",
      cause: endedByCaller,
    });
    expect(await post(client)).toEqual(answeredOk);
    expect(kindOf(await post(client, { signal: AbortSignal.abort(), body: "left" }))).toEqual(notSent);
    expect(await post(client)).toEqual(answeredOk);
    expect(server.sockets.length).toBe(1);
    expect(server.received.join("")).not.toContain("left");
  });

  test("while a connection is made: not sent", async () => {
    const caller = new AbortController();
    const server = await useRawServer((socket) => {
      socket.once("data", () => caller.abort());
    });
    const exchange = await post(useHttpClient(`https://${server.host}`), { signal: caller.signal });
    expect(exchange).toEqual({ kind: "notSent", cause: endedByCaller });
  });

  test("while the answer is awaited: broken, and the connection is closed", async () => {
    const caller = new AbortController();
    const closed = Promise.withResolvers<void>();
    const server = await useScriptedServer((_, response) => {
      response.on("close", closed.resolve);
      caller.abort();
    });
    const exchange = await post(useHttpClient(server.origin), { signal: caller.signal });
    expect(exchange).toEqual({ kind: "broken", cause: endedByCaller });
    await closed.promise;
  });

  test("while the answer arrives: broken", async () => {
    const caller = new AbortController();
    const server = await useScriptedServer((_, response) => {
      response.write("x", () => caller.abort());
    });
    const exchange = await post(useHttpClient(server.origin), { signal: caller.signal });
    expect(exchange).toEqual({ kind: "broken", cause: endedByCaller });
  });

  test("after the answer: nothing changes, and nothing listens to it any more", async () => {
    const server = await useScriptedServer(answering(200));
    const caller = new AbortController();
    const added = vi.spyOn(caller.signal, "addEventListener");
    const removed = vi.spyOn(caller.signal, "removeEventListener");
    const exchange = await post(useHttpClient(server.origin), { signal: caller.signal });
    caller.abort();
    expect(kindOf(exchange)).toBe(200);
    expect(added).toHaveBeenCalledOnce();
    expect(removed.mock.calls.map((call) => call.slice(0, 2))).toEqual(
      added.mock.calls.map((call) => call.slice(0, 2)),
    );
  });
});

describe("connections", () => {
  test("are kept and used again", async () => {
    const server = await useRawServer(answeringBytes(ok));
    const client = useHttpClient(`http://${server.host}`, { connections: 1 });
    for (let count = 0; count < 5; count += 1) {
      expect(await post(client)).toEqual(answeredOk);
    }
    expect(server.sockets.length).toBe(1);
  });

  test("that the upstream has closed are not used again", async () => {
    const server = await useRawServer(answeringBytes(ok));
    const client = useHttpClient(`http://${server.host}`, { connections: 1 });
    for (let count = 1; count <= 5; count += 1) {
      expect(await post(client)).toEqual(answeredOk);
      const socket = server.sockets[count - 1];
      await new Promise((resolve) => socket?.once("close", resolve).end());
    }
    expect(server.sockets.length).toBe(5);
  });

  test("that the upstream wants closed are not used again", async () => {
    const closing = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
    const server = await useRawServer(onRequest((socket) => socket.end(closing)));
    const client = useHttpClient(`http://${server.host}`, { connections: 1 });
    expect(kindOf(await post(client))).toBe(200);
    expect(kindOf(await post(client))).toBe(200);
    expect(server.sockets.length).toBe(2);
  });

  test("with an answer that nobody asked for are not trusted with the next request", async () => {
    const server = await useRawServer(answeringBytes(`${ok}HTTP/1.1 500 x\r\ncontent-length: 0\r\n\r\n`));
    const client = useHttpClient(`http://${server.host}`, { connections: 1 });
    expect(await post(client)).toEqual(answeredOk);
    expect(await post(client)).toEqual(answeredOk);
    expect(server.sockets.length).toBe(2);
  });

  test("that broke do not keep the next request from being answered", async () => {
    let isFirst = true;
    const server = await useRawServer(
      onRequest((socket) => {
        if (isFirst) {
          socket.destroy();
        } else {
          socket.write(ok);
        }
        isFirst = false;
      }),
    );
    const client = useHttpClient(`http://${server.host}`, { connections: 1 });
    expect(kindOf(await post(client))).toEqual(broken);
    expect(await post(client)).toEqual(answeredOk);
  });

  test("are never more than allowed, each has one request at a time, and all requests are answered", async () => {
    let atOnce = 0;
    let most = 0;
    const server = await useScriptedServer(async (_, response) => {
      atOnce += 1;
      most = Math.max(most, atOnce);
      await new Promise((resolve) => setTimeout(resolve, 5));
      atOnce -= 1;
      response.end();
    });
    const client = useHttpClient(server.origin, { connections: 3 });
    const exchanges = await Promise.all(Array.from({ length: 20 }, () => post(client)));
    expect(exchanges.map(kindOf)).toEqual(Array(20).fill(200));
    expect(most).toBe(3);
  });

  test("go to those that wait in the order in which they came", async () => {
    const server = await useScriptedServer(answering(200));
    const client = useHttpClient(server.origin, { connections: 1 });
    await Promise.all(Array.from({ length: 10 }, (_, index) => post(client, { body: String(index) })));
    expect(server.seen.map(({ body }) => body)).toEqual(
      Array.from({ length: 10 }, (_, index) => String(index)),
    );
  });

  test("a request that waits for one in vain is not sent, then or later, and costs no connection", async () => {
    const release = Promise.withResolvers<void>();
    const server = await useRawServer(
      onRequest((socket) => void release.promise.then(() => socket.write(ok))),
    );
    const client = useHttpClient(`http://${server.host}`, { connections: 1 });
    const first = post(client, { body: "first" });
    await vi.waitFor(() => expect(server.received.join("")).toContain("first"));
    const caller = new AbortController();
    const waiting = [
      ...Array.from({ length: 100 }, () => post(client, { body: "late", timeoutMs: 50 })),
      post(client, { body: "late", signal: caller.signal }),
    ];
    const last = post(client, { body: "last" });
    const late = await Promise.all(waiting.slice(0, 100));
    caller.abort();
    expect(late.map(kindOf)).toEqual(Array(100).fill(notSentInTime));
    expect(kindOf((await waiting[100]) ?? answeredOk)).toEqual(notSent);
    release.resolve();
    expect([await first, await last]).toEqual([answeredOk, answeredOk]);
    expect(server.received.join("")).not.toContain("late");
    expect(server.sockets.length).toBe(1);
  });

  test("that are given up do not keep the next request from being answered", async () => {
    let isOpen = false;
    const server = await useRawServer((socket) => {
      if (isOpen) {
        answeringBytes(ok)(socket);
      }
    });
    const client = useHttpClient(`http://${server.host}`, { connections: 1 });
    expect(await post(client, { timeoutMs: 50 })).toMatchObject({ cause: "no answer within 50 ms" });
    isOpen = true;
    expect(await post(client)).toEqual(answeredOk);
  });
});

describe("closing", () => {
  test("ends what is under way, refuses what waits and what comes, and does not throw twice", async () => {
    const begun = Promise.withResolvers<void>();
    const server = await useScriptedServer(() => begun.resolve());
    const client = useHttpClient(server.origin, { connections: 1 });
    const underWay = post(client);
    const waiting = Array.from({ length: 3000 }, () => post(client));
    await begun.promise;
    await client.close();
    expect(kindOf(await underWay)).toEqual(broken);
    expect((await Promise.all(waiting)).map(kindOf)).toEqual(Array(3000).fill(notSent));
    expect(kindOf(await post(client))).toEqual(notSent);
    await client.close();
    expect(server.seen.length).toBe(1);
  });
});
