import type { ClientHttp2Stream } from "node:http2";
import net, { type AddressInfo } from "node:net";
import { expect, onTestFinished, test, vi } from "vitest";
import { createSessionManager } from "../../src/cli/session-manager.ts";

const settings = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);

/** Says hello to everybody, and then nothing. */
async function useSilentServer() {
  const open = new Set<net.Socket>();
  let connections = 0;
  const server = net.createServer((socket) => {
    connections += 1;
    open.add(socket);
    socket.on("error", () => undefined);
    socket.on("close", () => open.delete(socket));
    socket.resume();
    socket.write(settings);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.close();
    for (const socket of open) {
      socket.destroy();
    }
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { url, open, connections: () => connections };
}

test("calls that find the gateway silent at the same time share one new connection, and close ends it", async () => {
  const { url, open, connections } = await useSilentServer();
  vi.useFakeTimers({ toFake: ["performance", "setTimeout", "clearTimeout"] });
  onTestFinished(() => void vi.useRealTimers());
  const manager = createSessionManager(url, {});
  const ask = async (): Promise<ClientHttp2Stream> => {
    const stream = await manager.request("POST", "/", {}, {});
    return stream.on("error", () => undefined);
  };
  await ask();
  vi.advanceTimersByTime(6000);
  const asked = [ask(), ask()];
  await new Promise((resolve) => setImmediate(resolve));
  vi.advanceTimersByTime(6000);
  await Promise.all(asked);
  await vi.waitFor(() => expect(connections()).toBeGreaterThan(1));
  expect(connections()).toBe(2);
  manager.close();
  vi.useRealTimers();
  await expect.poll(() => open.size).toBe(0);
});
