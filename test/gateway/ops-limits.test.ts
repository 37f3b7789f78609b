import { once } from "node:events";
import net from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import { useGateway } from "../support/use-gateway.ts";

async function connect(url: string, begin: string): Promise<net.Socket> {
  const socket = net.connect(Number(new URL(url).port), "127.0.0.1");
  socket.on("error", () => undefined);
  onTestFinished(() => void socket.destroy());
  await once(socket, "connect");
  socket.resume();
  socket.write(begin);
  return socket;
}

function closeOf(socket: net.Socket): Promise<void> {
  return new Promise((resolve) => socket.once("close", () => resolve()));
}

describe("S7 the port of the probes", () => {
  test("closes what stays silent, and what drips", async () => {
    const { opsUrl } = await useGateway({ TASKGATE_FIRST_BYTE_TIMEOUT: "300ms" });
    const silent = await connect(opsUrl, "");
    const slow = await connect(opsUrl, "GET /livez HTTP/1.1\r\nx: ");
    const drip = setInterval(() => slow.write("x"), 20);
    onTestFinished(() => clearInterval(drip));
    await Promise.all([closeOf(silent), closeOf(slow)]);
    expect((await fetch(`${opsUrl}/livez`)).status).toBe(200);
  });

  test("answers a probe beside any number of connections that say nothing", async () => {
    const { opsUrl } = await useGateway({ TASKGATE_FIRST_BYTE_TIMEOUT: "1h" });
    for (let count = 0; count < 300; count += 1) {
      await connect(opsUrl, "");
    }
    for (const path of ["/startupz", "/livez", "/readyz"]) {
      expect((await fetch(`${opsUrl}${path}`)).status).toBe(200);
    }
  });

  test("takes no headers beyond the limit", async () => {
    const { opsUrl } = await useGateway({ TASKGATE_MAX_HEADER_BYTES: "1KiB" });
    const response = await fetch(`${opsUrl}/livez`, { headers: { x: "y".repeat(2000) } });
    expect(response.status).toBe(431);
  });
});
