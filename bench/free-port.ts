import { once } from "node:events";
import net from "node:net";

/** Finds a port of the loopback address that nothing listens on now. */
export async function findFreePort(): Promise<number> {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") {
    throw new Error("the loopback address has no ports");
  }
  return address.port;
}
