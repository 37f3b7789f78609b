import { once } from "node:events";
import net from "node:net";
import type { Stage } from "./stage.ts";

/** Stands between a client and the gateway. */
export interface CuttingProxy {
  /** `127.0.0.1:PORT`. */
  address: string;
  /** How many connections came. */
  connections(): number;
  /** Resets every connection; new ones are welcome. */
  cut(): void;
}

/** Starts a proxy of bytes that can break what it connects. */
export async function startCuttingProxy(stage: Stage, upstream: string): Promise<CuttingProxy> {
  const { hostname, port } = new URL(`http://${upstream}`);
  const sockets = new Set<net.Socket>();
  let connections = 0;
  const server = net.createServer((client) => {
    connections += 1;
    const gateway = net.connect(Number(port), hostname);
    for (const [socket, other] of [
      [client, gateway],
      [gateway, client],
    ] as const) {
      sockets.add(socket);
      socket.on("error", () => undefined);
      socket.once("close", () => {
        sockets.delete(socket);
        other.destroy();
      });
      socket.pipe(other);
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");

  function cut(): void {
    for (const socket of sockets) {
      socket.resetAndDestroy();
    }
  }

  stage.onEnd(() => {
    cut();
    server.close();
  });
  return {
    address: `127.0.0.1:${(server.address() as net.AddressInfo).port}`,
    connections: () => connections,
    cut,
  };
}
