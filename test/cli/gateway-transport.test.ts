import { readFileSync } from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import net, { type AddressInfo } from "node:net";
import { join } from "node:path";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { describe, expect, onTestFinished, test } from "vitest";
import { GatewayService } from "../../gen/taskgate/v1/gateway_pb.ts";
import { createGatewayTransport } from "../../src/cli/gateway-transport.ts";
import type { GatewayAddress } from "../../src/config/parse-run-config.ts";
import { unusedOrigin } from "../support/scripted-server.ts";
import { useDirectory } from "../support/use-directory.ts";
import { useGateway } from "../support/use-gateway.ts";

function useClient(gateway: GatewayAddress | string) {
  const address = typeof gateway === "string" ? ({ kind: "url", url: gateway } as const) : gateway;
  const { transport, close } = createGatewayTransport(address);
  onTestFinished(close);
  const client = createClient(GatewayService, transport);
  return {
    close,
    call: (timeoutMs = 5000) =>
      client.getInfo({}, { timeoutMs }).then(
        ({ version }) => version,
        (error: unknown) => ConnectError.from(error).code,
      ),
  };
}

async function listening(server: net.Server | http2.Http2Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

describe("a way to a gateway", () => {
  test("is there again after the gateway was away", async () => {
    const first = await useGateway();
    const { call } = useClient(first.url);
    expect(await Promise.all([call(), call()])).toEqual(["0.0.0-test", "0.0.0-test"]);
    await first.gateway.stop();
    expect(await call()).toBe(Code.Unavailable);
    await useGateway({ TASKGATE_LISTEN: new URL(first.url).host });
    expect(await call()).toBe("0.0.0-test");
  });

  test("may be a Unix socket", async () => {
    const path = join(useDirectory(), "socket");
    const { call } = useClient({ kind: "listen", listen: { kind: "unix", path }, cert: undefined });
    expect(await call()).toBe(Code.Unavailable);
    await useGateway({ TASKGATE_LISTEN: `unix:${path}` });
    expect(await call()).toBe("0.0.0-test");
  });

  test("is by TLS where the gateway's own certificate is known, and by no other", async () => {
    const path = (name: string) => new URL(`../support/tls/${name}`, import.meta.url).pathname;
    const [cert, key] = [path("server.pem"), path("server.key")].map((file) => readFileSync(file, "utf8"));
    const server = http2.createSecureServer({ cert, key } as http2.SecureServerOptions, (_, response) => {
      response.writeHead(200, { "content-type": "application/grpc", trailer: "grpc-status" });
      response.write(Buffer.alloc(5));
      response.addTrailers({ "grpc-status": "0" });
      response.end();
    });
    const { port } = new URL(await listening(server));
    const listen = { kind: "tcp", host: "0.0.0.0", port: Number(port) } as const;
    expect(await useClient({ kind: "listen", listen, cert }).call()).toBe("");
    expect(await useClient(`https://127.0.0.1:${port}`).call()).toBe(Code.Unavailable);
  });

  test("ends what is under way when it is closed", async () => {
    const url = await listening(
      http2.createServer().on("stream", (stream) => stream.on("error", () => undefined)),
    );
    const { call, close } = useClient(url);
    const result = call();
    setTimeout(close, 100);
    expect(await result).toBe(Code.Internal);
  });

  test.each([
    ["nobody", unusedOrigin],
    ["a server of HTTP/1", () => listening(http.createServer((_, response) => response.end("hello")))],
    ["one that closes", () => listening(net.createServer((socket) => socket.destroy()))],
    [
      "one that closes later",
      () => listening(http2.createServer((request) => request.stream.session?.destroy())),
    ],
    ["one that talks nonsense", () => listening(net.createServer((socket) => socket.end("\0".repeat(1000))))],
    ["one that fails", () => listening(http2.createServer((_, response) => response.writeHead(502).end()))],
  ])("that leads to %s is an error of each call at once, and of nothing else", async (_, start) => {
    const { call } = useClient(await start());
    for (let round = 0; round < 3; round += 1) {
      for (const code of await Promise.all([call(), call()])) {
        expect([Code.Unavailable, Code.Internal, Code.Canceled, Code.Aborted]).toContain(code);
      }
    }
  });

  test("that leads to somebody who says nothing is an error in time", async () => {
    const { call } = useClient(await listening(net.createServer(() => undefined)));
    expect([await call(200), await call(200)]).toEqual([Code.DeadlineExceeded, Code.DeadlineExceeded]);
  });
});
