import { once } from "node:events";
import net from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { http2Frame, http2Headers, http2Opening } from "../support/http2-frame.ts";
import { useHttp2Session, useListener } from "../support/use-listener.ts";

async function connect(url: string): Promise<net.Socket> {
  const socket = net.connect(Number(new URL(url).port), "127.0.0.1");
  socket.on("error", () => undefined);
  onTestFinished(() => {
    socket.destroy();
  });
  await once(socket, "connect");
  return socket.resume();
}

test("a client that answers no ping is gone after two intervals", async () => {
  const { url } = await useListener({ routes: [] }, { pingIntervalMs: 100 });
  const socket = await connect(url);
  socket.write(http2Opening);
  const startedMs = performance.now();
  await once(socket, "close");
  expect(performance.now() - startedMs).toBeGreaterThan(95);
});

test("a client that answers is kept", async () => {
  const { url } = await useListener({ routes: [] }, { pingIntervalMs: 20 });
  const session = useHttp2Session(url);
  let pings = 0;
  session.on("ping", () => {
    pings += 1;
  });
  await expect.poll(() => pings).toBeGreaterThan(5);
  expect(session.destroyed).toBe(false);
});

test("a session that Node forgets is ended", async () => {
  const { url } = await useListener({ routes: [] }, { pingIntervalMs: 100 });
  const socket = await connect(url);
  socket.write(
    Buffer.concat([
      http2Opening,
      http2Headers(7, { ":path": "/" }),
      http2Frame("GOAWAY", 0, Buffer.alloc(8)),
      http2Frame("DATA", 19, Buffer.from("nobody's")),
    ]),
  );
  await once(socket, "close");
});

test("a client that says goodbye and stays is gone after an interval, and nothing breaks", async () => {
  const { url } = await useListener({ routes: [] }, { pingIntervalMs: 50 });
  const socket = net.connect({ port: Number(new URL(url).port), host: "127.0.0.1", allowHalfOpen: true });
  onTestFinished(() => {
    socket.destroy();
  });
  socket.on("error", () => undefined);
  socket.resume();
  const settingsAck = http2Frame("SETTINGS", 0, Buffer.alloc(0), 1);
  socket.write(Buffer.concat([http2Opening, settingsAck, http2Frame("GOAWAY", 0, Buffer.alloc(8))]));
  await expect
    .poll(() => new Promise<boolean>((resolve) => socket.write("x", (error) => resolve(error != null))))
    .toBe(true);
});
