import net, { type AddressInfo } from "node:net";
import { onTestFinished } from "vitest";

export interface RawServer {
  /** `127.0.0.1:port`. */
  host: string;
  /** All connections that were ever made, in their order. */
  sockets: net.Socket[];
  /** What came over each connection, in the order of the connections. */
  received: string[];
}

/**
 * Starts a TCP server on a free port for the running test, for answers that no
 * HTTP server would give. It ends with the test, and so do its connections.
 */
export async function useRawServer(onConnection: (socket: net.Socket) => void): Promise<RawServer> {
  const sockets: net.Socket[] = [];
  const received: string[] = [];
  const server = net.createServer((socket) => {
    const index = sockets.push(socket) - 1;
    received[index] = "";
    socket.on("data", (chunk) => {
      received[index] += chunk.toString("latin1");
    });
    socket.on("error", () => undefined);
    onConnection(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(
    () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) {
          socket.destroy();
        }
      }),
  );
  return { host: `127.0.0.1:${(server.address() as AddressInfo).port}`, sockets, received };
}

/** Calls `answer` for each request on a connection, when the request has arrived whole. */
export function onRequest(answer: (socket: net.Socket) => void): (socket: net.Socket) => void {
  return (socket) => {
    let unread = "";
    socket.on("data", (chunk) => {
      unread += chunk.toString("latin1");
      for (;;) {
        const head = unread.indexOf("\r\n\r\n");
        const length = /\r\ncontent-length: (\d+)(?:\r\n|$)/.exec(unread.slice(0, Math.max(head, 0)));
        const end = length === null ? Infinity : head + 4 + Number(length[1]);
        if (unread.length < end) {
          return;
        }
        unread = unread.slice(end);
        answer(socket);
      }
    });
  };
}

/** Answers each request on each connection with the same bytes. */
export function answeringBytes(bytes: string): (socket: net.Socket) => void {
  return onRequest((socket) => socket.write(bytes, "latin1"));
}
