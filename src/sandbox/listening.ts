import type { Server } from "node:http";

export function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

/** While it was down, the kernel may have lent the port to an outgoing connection for a moment. */
export async function listenAgain(server: Server, host: string, port: number): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await listen(server, host, port);
    } catch (error) {
      if (attempt === 100) {
        throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

export function stop(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
