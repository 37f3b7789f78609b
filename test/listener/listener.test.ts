import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import http from "node:http";
import type http2 from "node:http2";
import https from "node:https";
import net from "node:net";
import { join } from "node:path";
import tls from "node:tls";
import { describe, expect, test } from "vitest";
import { TaskStatusService } from "../../gen/taskgate/v1/task_status_pb.ts";
import { formatListenAddress } from "../../src/model/listen-address.ts";
import { createRoute } from "../../src/model/route.ts";
import { grpcFrame } from "../support/grpc-frame.ts";
import { http2Frame, http2Headers, http2Opening } from "../support/http2-frame.ts";
import { useDirectory } from "../support/use-directory.ts";
import { sendRaw, useHttp2Session, useListener } from "../support/use-listener.ts";

const path = "/taskgate.v1.TaskStatusService/UpdateTask";
const routes = [
  createRoute(TaskStatusService, { updateTask: () => ({ receipt: { deliveryId: "here" } }) }, "known"),
];
const grpcHeaders = { ":path": path, "content-type": "application/grpc" };
const pem = (name: string) => readFileSync(new URL(`../support/tls/${name}`, import.meta.url), "utf8");
const serverTls = { cert: pem("server.pem"), key: pem("server.key") };

async function postJson(url: string, options: https.RequestOptions = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const send = url.startsWith("https") ? https.request : http.request;
    const request = send(
      `${url}${path}`,
      { method: "POST", headers: { "content-type": "application/json" }, agent: false, ...options },
      (response) => {
        let text = "";
        response.on("data", (chunk) => {
          text += chunk;
        });
        response.on("end", () => resolve(`${response.statusCode} ${text}`));
      },
    );
    request.on("error", reject);
    request.end("{}");
  });
}

// Sends bytes on a connection of its own and returns all that comes back.
function exchange(port: number, pieces: readonly (string | Buffer)[]): Promise<string> {
  return new Promise((resolve) => {
    const socket = net.connect(port, "127.0.0.1");
    let text = "";
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1");
    });
    socket.on("error", () => undefined);
    socket.on("close", () => resolve(text));
    void (async () => {
      for (const piece of pieces) {
        socket.write(piece);
        await new Promise((next) => setTimeout(next, 5));
      }
    })();
  });
}

function portOf(url: string): number {
  return Number(new URL(url).port);
}

describe("one port", () => {
  test("speaks HTTP/1.1 and HTTP/2 with prior knowledge", async () => {
    const { url } = await useListener({ routes });
    expect(await postJson(url)).toMatch(/^200 .*"deliveryId":"here"/);
    const response = await sendRaw(useHttp2Session(url), grpcHeaders, grpcFrame(new Uint8Array()));
    expect(response.trailers).toEqual({ "grpc-status": "0" });
  });

  test("tells them apart however the first bytes are cut", async () => {
    const { url } = await useListener({ routes });
    const body = `POST ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}`;
    expect(await exchange(portOf(url), [...body].slice(0, 5).concat(body.slice(5)))).toMatch(
      /^HTTP\/1.1 200 /,
    );
    const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const goAway = Buffer.from([0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    const settings = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    const answer = await exchange(portOf(url), [...preface, settings, goAway]);
    expect(Buffer.from(answer, "latin1")[3]).toBe(4);
  });

  test("closes a connection that stays silent or never finishes its head", async () => {
    const { url } = await useListener({ routes }, { limits: { firstByteTimeoutMs: 100 } });
    const startMs = performance.now();
    expect(await exchange(portOf(url), [])).toBe("");
    expect(await exchange(portOf(url), ["PRI * HT"])).toBe("");
    expect(performance.now() - startMs).toBeLessThan(5000);
  });

  test("closes connections over the limit and serves the others", async () => {
    const { url } = await useListener({ routes }, { limits: { maxConnections: 1 } });
    const session = useHttp2Session(url);
    await sendRaw(session, grpcHeaders, grpcFrame(new Uint8Array()));
    await expect(postJson(url)).rejects.toThrow();
    const response = await sendRaw(session, grpcHeaders, grpcFrame(new Uint8Array()));
    expect(response.trailers).toEqual({ "grpc-status": "0" });
  });

  test("tells a client how many calls it may have under way", async () => {
    const { url } = await useListener({ routes }, { limits: { maxStreams: 7 } });
    const session = useHttp2Session(url);
    const settings = await new Promise<http2.Settings>((resolve) => session.once("remoteSettings", resolve));
    expect(settings.maxConcurrentStreams).toBe(7);
  });
});

describe("a malformed Host or :authority ends one request and not the process", () => {
  test.each(["a b", "%", "[", "x:y", "::", "a:99999999", "a/b", "a?b", "a#b", "u@h", "\\", "a\tb", ""])(
    "%j",
    async (host) => {
      const { url } = await useListener({ routes });
      const head = `POST ${path} HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}`;
      expect(await exchange(portOf(url), [head])).toMatch(/^HTTP\/1.1 400 /);
      const response = await sendRaw(
        useHttp2Session(url),
        { ...grpcHeaders, ":authority": host, "content-type": "application/grpc-web" },
        grpcFrame(new Uint8Array()),
      );
      expect([400, undefined]).toContain(response.headers[":status"]);
      expect(await postJson(url)).toMatch(/^200 /);
    },
  );

  test("no Host at all, as HTTP/1.0 allows", async () => {
    const { url } = await useListener({ routes });
    const head = `POST ${path} HTTP/1.0\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}`;
    expect(await exchange(portOf(url), [head])).toMatch(/^HTTP\/1.1 400 /);
    expect(await postJson(url)).toMatch(/^200 /);
  });
});

describe("a call that is reset in the packet that began it ends alone", () => {
  test.each([
    ["with expect: 100-continue", "text/plain"],
    ["in the lane, with expect: 100-continue", "application/grpc"],
  ])("%s", async (_, contentType) => {
    const { url } = await useListener({ routes });
    for (const code of [0, 2, 7, 8]) {
      const bytes = [
        http2Opening,
        http2Headers(1, { ":path": path, expect: "100-continue", "content-type": contentType }),
        http2Frame("RST_STREAM", 1, Buffer.from([0, 0, 0, code])),
        http2Frame("GOAWAY", 0, Buffer.alloc(8)),
      ];
      await exchange(portOf(url), [Buffer.concat(bytes)]);
      expect(await postJson(url)).toMatch(/^200 /);
    }
  });
});

describe("a request whose body does not come ends with its deadline", () => {
  test.each([true, false])("over gRPC, in the lane: %s", async (fastLane) => {
    const { url } = await useListener({ routes, fastLane });
    const stream = useHttp2Session(url).request({
      ...grpcHeaders,
      ":method": "POST",
      "grpc-timeout": "100m",
    });
    stream.write(Buffer.from([0]));
    const status = await new Promise((resolve) => {
      stream.on("response", (headers) => headers["grpc-status"] && resolve(headers["grpc-status"]));
      stream.on("trailers", (headers) => resolve(headers["grpc-status"]));
    });
    expect(status).toBe("4");
  });

  test.each([
    [true, Buffer.from([0])],
    [false, Buffer.from([0])],
    [true, Buffer.alloc(0)],
    [false, Buffer.alloc(0)],
  ])("or with the time for a body, long before: in the lane: %s, %j", async (fastLane, start) => {
    const { url } = await useListener({ routes, fastLane, maxMessageMs: 100 });
    const stream = useHttp2Session(url).request({ ...grpcHeaders, ":method": "POST", "grpc-timeout": "10S" });
    stream.write(start);
    const startMs = performance.now();
    const status = await new Promise((resolve) => {
      stream.on("response", (headers) => headers["grpc-status"] && resolve(headers["grpc-status"]));
      stream.on("trailers", (headers) => resolve(headers["grpc-status"]));
    });
    expect(status).toBe("4");
    expect(performance.now() - startMs).toBeLessThan(5000);
  });

  test.each([true, false])(
    "but a call that came whole has all its time, in the lane: %s",
    async (fastLane) => {
      const slow = createRoute(
        TaskStatusService,
        {
          async updateTask(_, { signal }) {
            await new Promise((resolve) => signal.addEventListener("abort", resolve));
            throw signal.reason;
          },
        },
        "known",
      );
      const { url } = await useListener({ routes: [slow], fastLane, maxMessageMs: 20 });
      const startMs = performance.now();
      const headers = { ...grpcHeaders, "grpc-timeout": "200m" };
      const response = await sendRaw(useHttp2Session(url), headers, grpcFrame(new Uint8Array()));
      expect(response.headers["grpc-status"] ?? response.trailers["grpc-status"]).toBe("4");
      // A timer may be a little early.
      expect(performance.now() - startMs).toBeGreaterThan(190);
    },
  );

  test("over HTTP/1.1", async () => {
    const { url } = await useListener({ routes });
    const head = `POST ${path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\nconnect-timeout-ms: 100\r\ncontent-length: 9\r\n\r\n{`;
    expect(await exchange(portOf(url), [head])).toMatch(/^HTTP\/1.1 504 .*"code":"deadline_exceeded"/s);
  });
});

describe("TLS", () => {
  test("serves HTTP/2 and HTTP/1.1 by ALPN", async () => {
    const { url } = await useListener({ routes }, { tls: serverTls });
    expect(await postJson(url, { ca: pem("ca.pem") })).toMatch(/^200 .*"deliveryId":"here"/);
    const session = useHttp2Session(url, { ca: pem("ca.pem") });
    const response = await sendRaw(session, grpcHeaders, grpcFrame(new Uint8Array()));
    expect(response.trailers).toEqual({ "grpc-status": "0" });
    expect(session.alpnProtocol).toBe("h2");
  });

  test("with a client CA, takes only clients that it has signed", async () => {
    const { url } = await useListener({ routes }, { tls: { ...serverTls, clientCa: pem("ca.pem") } });
    await expect(postJson(url, { ca: pem("ca.pem") })).rejects.toThrow();
    const own = { ca: pem("ca.pem"), cert: pem("client.pem"), key: pem("client.key") };
    expect(await postJson(url, own)).toMatch(/^200 /);
  });

  test("has other certificates from the next connection on, and keeps its own where they are wrong", async () => {
    const { url, listener } = await useListener({ routes }, { tls: serverTls });
    const session = useHttp2Session(url, { ca: pem("ca.pem") });
    const call = () => sendRaw(session, grpcHeaders, grpcFrame(new Uint8Array()));
    expect((await call()).trailers).toEqual({ "grpc-status": "0" });
    expect(() => listener.replaceTls({ cert: pem("self-signed.pem"), key: pem("server.key") })).toThrow();
    expect(() => listener.replaceTls({ cert: "odd", key: "odd" })).toThrow();
    expect(await postJson(url, { ca: pem("ca.pem") })).toMatch(/^200 /);
    listener.replaceTls({ cert: pem("self-signed.pem"), key: pem("self-signed.key") });
    await expect(postJson(url, { ca: pem("ca.pem") })).rejects.toThrow();
    const other = { ca: pem("self-signed.pem"), checkServerIdentity: () => undefined };
    expect(await postJson(url, other)).toMatch(/^200 /);
    expect((await call()).trailers).toEqual({ "grpc-status": "0" });
  });

  test.each(["TLSv1.2", "TLSv1.3"] as const)(
    "with another client CA, resumes no %s session of a client of the one before",
    async (version) => {
      const clientCa = pem("ca.pem");
      const { url, listener } = await useListener({ routes }, { tls: { ...serverTls, clientCa } });
      const agent = new https.Agent({ keepAlive: false, maxCachedSessions: 10, maxVersion: version });
      const options = { agent, ca: clientCa, cert: pem("client.pem"), key: pem("client.key") };
      const reused: boolean[] = [];
      const post = () =>
        new Promise<string>((resolve, reject) => {
          const request = https.request(
            `${url}${path}`,
            { method: "POST", headers: { "content-type": "application/json" }, ...options },
            (response) => {
              reused.push((response.socket as tls.TLSSocket).isSessionReused());
              response.resume().on("end", () => resolve(String(response.statusCode)));
            },
          );
          request.on("error", reject);
          request.end("{}");
        });
      expect([await post(), await post()]).toEqual(["200", "200"]);
      // Without this the rest would show nothing.
      expect(reused).toEqual([false, true]);
      listener.replaceTls({ ...serverTls, clientCa: pem("self-signed.pem") });
      await expect(post()).rejects.toThrow();
    },
  );

  test("closes a handshake that stalls, and does not wait for one when it stops", async () => {
    const { url, listener } = await useListener(
      { routes },
      { tls: serverTls, limits: { firstByteTimeoutMs: 100 } },
    );
    const stalled = Buffer.from([0x16, 0x03, 0x01]);
    expect(await exchange(portOf(url), [stalled])).toBe("");
    const silent = net.connect(portOf(url), "127.0.0.1");
    silent.on("error", () => undefined);
    await new Promise((resolve) => silent.once("connect", resolve));
    await listener.close(50);
  });

  test("outlives a client that speaks no TLS", async () => {
    const { url } = await useListener({ routes }, { tls: serverTls });
    await exchange(portOf(url), [`POST ${path} HTTP/1.1\r\n\r\n`]);
    expect(await postJson(url, { ca: pem("ca.pem") })).toMatch(/^200 /);
  });
});

describe("a Unix socket", () => {
  test("is served, and open to its owner and group only", async () => {
    const socketPath = join(useDirectory(), "rpc.sock");
    const { listener } = await useListener({ routes }, { address: { kind: "unix", path: socketPath } });
    expect(formatListenAddress(listener.address)).toBe(`unix:${socketPath}`);
    expect(statSync(socketPath).mode & 0o777).toBe(0o660);
    const session = useHttp2Session("http://localhost", {
      createConnection: () => net.connect(socketPath),
    });
    const response = await sendRaw(session, grpcHeaders, grpcFrame(new Uint8Array()));
    expect(response.trailers).toEqual({ "grpc-status": "0" });
  });

  test("has the mode that it is given", async () => {
    const socketPath = join(useDirectory(), "rpc.sock");
    const before = process.umask();
    await useListener(
      { routes },
      { address: { kind: "unix", path: socketPath }, socketAccess: { mode: 0o600, gid: undefined } },
    );
    expect(statSync(socketPath).mode & 0o777).toBe(0o600);
    expect(process.umask()).toBe(before);
  });

  test("S13 has the group that it is given, or is not there", async () => {
    const [gid = 0] = (process.getgroups?.() ?? []).toSorted((a, b) => b - a);
    const directory = useDirectory();
    const socketPath = join(directory, "rpc.sock");
    await useListener(
      { routes },
      { address: { kind: "unix", path: socketPath }, socketAccess: { mode: 0o660, gid } },
    );
    expect(statSync(socketPath)).toMatchObject({ gid });
    expect(statSync(socketPath).mode & 0o777).toBe(0o660);
    const other = { kind: "unix", path: join(directory, "other.sock") } as const;
    const nobody = { mode: 0o660, gid: 2 ** 32 };
    await expect(useListener({ routes }, { address: other, socketAccess: nobody })).rejects.toThrow(
      "cannot be given to group 4294967296",
    );
    expect(readdirSync(directory)).toEqual(["rpc.sock"]);
  });

  // Only the superuser may be somebody else.
  test.skipIf(process.getuid?.() !== 0).each([
    ["0660", 0o660, 65_533, "EACCES"],
    ["0660 of their group", 0o660, 65_534, "connected"],
    ["0600", 0o600, 65_534, "EACCES"],
    ["0666", 0o666, 65_533, "connected"],
  ])("S13 for a process of another user, with mode %s: %4$s", async (_, mode, gid, expected) => {
    const directory = useDirectory();
    chmodSync(directory, 0o755);
    const socketPath = join(directory, "rpc.sock");
    const address = { kind: "unix", path: socketPath } as const;
    await useListener({ routes }, { address, socketAccess: { mode, gid } });
    const script = `require("node:net").connect(process.argv[1])
      .on("connect", () => { console.log("connected"); process.exit(); })
      .on("error", (error) => console.log(error.code))`;
    const other = spawn(process.execPath, ["-e", script, socketPath], { uid: 65_534, gid: 65_534, env: {} });
    let said = "";
    other.stdout.on("data", (chunk) => {
      said += chunk;
    });
    await once(other, "close");
    expect(said.trim()).toBe(expected);
  });

  test("S13 leaves a link at its place alone, wherever it leads", async () => {
    const directory = useDirectory();
    const served = join(directory, "served.sock");
    const { listener } = await useListener({ routes }, { address: { kind: "unix", path: served } });
    for (const [name, target] of [
      ["to-socket", served],
      ["to-nothing", join(directory, "nothing")],
    ] as const) {
      const path = join(directory, name);
      symlinkSync(target, path);
      await expect(useListener({ routes }, { address: { kind: "unix", path } })).rejects.toThrow("no socket");
      expect(readlinkSync(path)).toBe(target);
    }
    expect(readdirSync(directory).toSorted()).toEqual(["served.sock", "to-nothing", "to-socket"]);
    expect(listener.address).toEqual({ kind: "unix", path: served });
  });

  test("replaces what a dead process left, and nothing else", async () => {
    const directory = useDirectory();
    const served = join(directory, "served.sock");
    await useListener({ routes }, { address: { kind: "unix", path: served } });
    await expect(useListener({ routes }, { address: { kind: "unix", path: served } })).rejects.toThrow(
      "served by another process",
    );
    const file = join(directory, "file");
    writeFileSync(file, "precious");
    await expect(useListener({ routes }, { address: { kind: "unix", path: file } })).rejects.toThrow(
      "no socket",
    );
    expect(readFileSync(file, "utf8")).toBe("precious");

    const stale = join(directory, "stale.sock");
    await leaveStaleSocket(stale);
    const { listener } = await useListener({ routes }, { address: { kind: "unix", path: stale } });
    expect(listener.address).toEqual({ kind: "unix", path: stale });
  });
});

// A socket file stays behind when nobody unlinks it: here, by binding under a name
// that is renamed before the server closes.
async function leaveStaleSocket(path: string): Promise<void> {
  const { renameSync } = await import("node:fs");
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(`${path}.tmp`, resolve));
  renameSync(`${path}.tmp`, path);
  await new Promise((resolve) => server.close(resolve));
}

describe("closing", () => {
  test("answers the calls under way and then ends, without waiting for idle clients", async () => {
    const bothBegun = Promise.withResolvers<void>();
    const release = Promise.withResolvers<void>();
    let calls = 0;
    const slow = [
      createRoute(
        TaskStatusService,
        {
          async updateTask() {
            calls += 1;
            if (calls === 2) {
              bothBegun.resolve();
            }
            await release.promise;
            return { receipt: { deliveryId: "late" } };
          },
        },
        "known",
      ),
    ];
    const { listener, url } = await useListener({ routes: slow });
    const idle = useHttp2Session(url);
    await new Promise((resolve) => idle.once("connect", resolve));
    const idleEnd = new Promise((resolve) => idle.once("close", resolve));
    const session = useHttp2Session(url);
    const call = sendRaw(session, grpcHeaders, grpcFrame(new Uint8Array()));
    const json = postJson(url);
    await bothBegun.promise;
    const startMs = performance.now();
    const closed = listener.close(5000);
    await expect(postJson(url)).rejects.toThrow();
    release.resolve();
    expect((await call).trailers).toEqual({ "grpc-status": "0" });
    expect(await json).toMatch(/^200 /);
    await closed;
    await idleEnd;
    expect(performance.now() - startMs).toBeLessThan(2000);
  });

  test("ends what is left when the grace is over", async () => {
    const begun = Promise.withResolvers<void>();
    const never = [
      createRoute(
        TaskStatusService,
        {
          async updateTask() {
            begun.resolve();
            return new Promise(() => undefined);
          },
        },
        "known",
      ),
    ];
    const { listener, url } = await useListener({ routes: never });
    const call = sendRaw(useHttp2Session(url), grpcHeaders, grpcFrame(new Uint8Array()));
    await begun.promise;
    await listener.close(100);
    expect((await call).trailers).toEqual({});
  });
});

test("HTTP/1.1 over TLS: a call is served that comes while a large answer is being written", async () => {
  const large = [
    createRoute(TaskStatusService, { updateTask: () => ({ receipt: { deliveryId } }) }, "known"),
  ];
  const deliveryId = "x".repeat(8 * 1024 * 1024);
  const { listener } = await useListener({ routes: large }, { tls: serverTls });
  const { port } = listener.address as { port: number };
  const socket = tls.connect({ port, host: "127.0.0.1", ca: pem("ca.pem"), servername: "localhost" });
  await once(socket, "secureConnect");
  // Of more than one record of TLS.
  const body = JSON.stringify({ message: "y".repeat(40_000) });
  const call = `POST ${path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
  socket.write(call);
  await once(socket, "readable");
  socket.write(call);
  let received = 0;
  for await (const chunk of socket) {
    received += chunk.length;
    if (received > 2 * deliveryId.length) {
      break;
    }
  }
  expect(received).toBeGreaterThan(2 * deliveryId.length);
});
